"""Every model of the registry: what it maps, that it learns, that padding and neighbours in a batch do not matter."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from ecgtrain.fitting import BASELINES
from ecgtrain.models import create_model, list_families, list_models, model_facts, register_family, register_model
from ecgtrain.models.heads import prototype_head
from ecgtrain.models.maps import signal_maps
from ecgtrain.models.recurrent import AttentionEncoder, Recurrence
from store.errors import UnknownNameError, UserError

N_ROWS, N_SAMPLES, N_FEATURES, N_CLASSES = 4, 186, 14, 5
SIDE = 64
PADDED = {"signal", "both"}
NETWORKS = [name for name in list_models() if name not in BASELINES]
HUGE = {"vgg_historical", "alexnet_historical"}  # 134 and 57 million weights: counted, and run once
SMALLEST = {
    "alexnet": ("alexnet", "alexnet_channel", "alexnet_spatial", "alexnet_cbam", "alexnet_self", "vgg"),
    "recurrent": ("gru", "bigru", "lstm_attention", "gru_self_attention", "lstm_ptbxl", "lstm_bidir_ptbxl"),
    "convolutional": (
        "cnn1d_rnn",
        "resnet1d_wang",
        "resnet1d_kachuee",
        "fcn_wang",
        "xresnet1d50",
        "inception1d",
        "inception_time",
    ),
    "transfer": ("resnet18v2_1d", "resnet18v2_2d", "resnet18"),
    "beats": ("ecgtransform", "ecgtransform_time", "inception_time_tiny", "inception_time_tiny_context"),
    "spectral": ("nsht_dual_evo", "s4"),
    "scalogram": ("efficientnet_scalogram_b0",),
    "fusion": ("joint_fusion", "joint_fusion_gated", "joint_fusion_average"),
    "ensemble": ("dual_ensemble", "dual_ensemble_learnable", "dual_ensemble_attention", "dual_ensemble_feature"),
}

SHORT = {*SMALLEST["recurrent"], "s4"}  # slow on long rows
LEARNING_RATE = (
    dict.fromkeys(SMALLEST["alexnet"], 3e-4)
    | dict.fromkeys(SMALLEST["recurrent"], 5e-3)
    | {"dual_ensemble_learnable": 3e-3, "ecgtransform": 2e-3}
)


def n_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def made(name: str, n_leads: int = 1, n_features: int = 0, n_classes: int = N_CLASSES) -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model(
        name,
        n_leads=n_leads,
        n_samples=N_SAMPLES,
        n_classes=n_classes,
        fs_hz=360.0,
        picture=(n_leads, SIDE, SIDE),
        n_features=n_features,
        r_sample=93,
    )


def counted(name: str, n_leads: int, n_samples: int = 1000, side: int = 224) -> int:
    with torch.device("meta"):
        model = create_model(
            name,
            n_leads=n_leads,
            n_samples=n_samples,
            n_classes=5,
            fs_hz=100.0 if n_samples == 1000 else 360.0,
            picture=(n_leads, side, side),
            r_sample=90,
        )
    return n_parameters(model)


def batch(name: str, n_rows: int = N_ROWS, n_leads: int = 1, n_features: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    made = {
        "signal": torch.randn(n_rows, n_leads, N_SAMPLES, generator=generator),
        "picture": torch.randn(n_rows, n_leads, SIDE, SIDE, generator=generator),
        "features": torch.randn(n_rows, n_features, generator=generator),
    }
    reads = model_facts(name).reads
    wanted = {"signal": ["signal"], "picture": ["picture"], "both": ["signal", "picture"]}[reads]
    return {key: made[key] for key in [*wanted, *(["features"] if n_features and reads != "picture" else [])]}


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - HUGE))
def test_model_maps_a_batch_to_logits_and_gradients_reach_every_weight(name):
    inputs = batch(name, n_leads=2, n_features=N_FEATURES)
    model = made(name, n_leads=2, n_features=N_FEATURES if "features" in inputs else 0)
    logits, distances = model(**inputs).tensor_split((N_CLASSES,), dim=1)
    assert logits.shape == (N_ROWS, N_CLASSES)
    assert distances.shape[1] == (N_CLASSES if name.endswith("_prototypes") else 0)
    assert torch.isfinite(logits).all()
    (functional.cross_entropy(logits, torch.arange(N_ROWS)) + distances.sum()).backward()
    trainable = [(key, weight) for key, weight in model.named_parameters() if weight.requires_grad]
    assert [key for key, weight in trainable if weight.grad is None] == []
    assert all(torch.isfinite(weight.grad).all() for _, weight in trainable)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_row_alone_and_other_rows_change_nothing_in_evaluation(name):
    model = made(name).eval()
    inputs = batch(name)
    with torch.inference_mode():
        together = model(**inputs)
        alone = model(**{key: value[:1] for key, value in inputs.items()})
        among_zeros = model(**{key: torch.cat([value[:1], 0 * value]) for key, value in inputs.items()})
    torch.testing.assert_close(alone, together[:1], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(among_zeros[:1], together[:1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in NETWORKS if model_facts(name).reads in PADDED])
@pytest.mark.parametrize("extent", [(0, 120), (64, N_SAMPLES)], ids=["padded behind", "padded in front"])
def test_what_stands_in_the_padding_changes_nothing_in_evaluation(name, extent):
    model = made(name).eval()
    inputs = batch(name, n_rows=2)
    inputs["extent"] = torch.tensor([extent, (0, N_SAMPLES)])
    outside = torch.ones(N_SAMPLES, dtype=torch.bool)
    outside[extent[0] : extent[1]] = False
    changed = {**inputs, "signal": inputs["signal"].clone()}
    changed["signal"][0, :, outside] = 7.0
    with torch.inference_mode():
        torch.testing.assert_close(model(**changed), model(**inputs), rtol=1e-4, atol=1e-5)


LENGTH_FREE = [
    name
    for name in NETWORKS
    if model_facts(name).reads == "signal"
    and not name.startswith(("ecgtransform", "inception_time_", "nsht", "resnet1d_kachuee"))
]


@pytest.mark.parametrize("name", LENGTH_FREE)
def test_a_padded_row_is_the_row_without_its_padding(name):
    model = made(name).eval()
    signal = batch(name, n_rows=2)["signal"]
    signal[:, :, 120:] = 0
    with torch.inference_mode():
        padded = model(signal=signal, extent=torch.tensor([(0, 120), (0, 120)]))
        torch.testing.assert_close(padded, model(signal=signal[:, :, :120]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet1d_wang", "inception1d", "xresnet1d50", "resnet18v2_1d"])
def test_padding_does_not_enter_the_statistics_of_training(name):
    padded, short = (made(name).encoder.train() for _ in range(2))
    signal = batch(name)["signal"]
    signal[:, :, 120:] = 0
    padded(signal, torch.tensor([(0, 120)] * N_ROWS))
    short(signal[:, :, :120])
    statistics = {key: value for key, value in padded.state_dict().items() if "running" in key}
    assert statistics
    for key, value in statistics.items():
        torch.testing.assert_close(value, short.state_dict()[key], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", [name for names in SMALLEST.values() for name in names])
def test_smallest_of_each_family_learns_eight_rows_by_heart(name):
    inputs = batch(name, n_rows=8)
    if name in SHORT:
        inputs["signal"] = inputs["signal"][:, :, :48]
    target = torch.arange(8) % 4
    model = made(name, n_classes=4).train()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
        if isinstance(layer, torch.nn.RNNBase):
            layer.dropout = 0.0
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE.get(name, 1e-3))
    for _ in range(200):
        optimizer.zero_grad()
        logits = model(**inputs)
        loss = functional.cross_entropy(logits, target)
        if loss < 0.5 and bool((logits.argmax(dim=1) == target).all()):
            break
        loss.backward()
        optimizer.step()
    assert (logits.argmax(dim=1) == target).all(), f"loss {loss:.3f}"


ATTENTION = 256**2 // 2 + 256  # W and v with b of additive attention on 256 values: d²/2 + d


@pytest.mark.parametrize(
    ("name", "n_leads", "n_samples", "expected"),
    [
        ("gru", 3, 1000, 150_789),
        ("gru", 12, 1000, 154_245),
        ("bigru", 3, 1000, 399_877),
        ("bigru", 12, 1000, 406_789),
        ("lstm", 3, 1000, 200_837),
        ("lstm", 12, 1000, 205_445),
        ("bilstm", 3, 1000, 532_741),
        ("bilstm", 12, 1000, 541_957),
        ("gru_attention", 3, 1000, 150_789 + 128**2 // 2 + 128),
        ("bigru_attention", 3, 1000, 399_877 + ATTENTION),
        ("lstm_attention", 3, 1000, 200_837 + 128**2 // 2 + 128),
        ("bilstm_attention", 12, 1000, 541_957 + ATTENTION),
        ("bigru_self_attention", 3, 1000, 399_877 + 4 * 256**2 + 4 * 256 + 2 * 256),  # with biases and layer norm
        ("gru_self_attention", 3, 1000, 150_789 + 4 * 128**2 + 4 * 128 + 2 * 128),
        ("ecgtransform", 1, 186, 530_516),
        ("resnet1d_wang", 12, 1000, 473_349),  # published as 0.473 M
        ("inception_time", 1, 360, 420_837 - 15_456),  # odd kernels: 3 samples less in each of six modules
        ("resnet18v2_1d", 1, 4096, 4_482_880 + 512 * 5 + 5),
        ("resnet18v2_2d", 1, 4096, 11_175_040 + 512 * 5 + 5),
        ("resnet18", 3, 1000, 11_179_077),  # 11.18 M
        # stem, ten convolutions with their norms, the layer over what is left, and the head of two
        ("resnet1d_kachuee", 1, 187, 6 * 32 + 10 * (5 * 32**2 + 2 * 32) + (2 * 32 + 1) * 32 + 33 * (32 + 5)),
    ],
)
def test_parameters_are_the_published_number(name, n_leads, n_samples, expected):
    assert counted(name, n_leads, n_samples) == expected


def test_a_row_too_short_for_five_poolings_is_refused():
    with pytest.raises(UserError, match="100 samples"):
        create_model("resnet1d_kachuee", n_leads=1, n_samples=100, n_classes=2)


@pytest.mark.parametrize(
    ("name", "n_leads", "n_samples", "expected"),
    [
        ("cnn1d_rnn", 3, 1000, 0.65e6),
        ("fcn_wang", 12, 1000, 0.31e6),
        ("inception1d", 12, 1000, 0.508e6),
        ("xresnet1d50", 12, 1000, 0.954e6),
        ("xresnet1d101", 12, 1000, 1.872e6),
        ("lstm_ptbxl", 12, 1000, 0.90e6),
        ("lstm_bidir_ptbxl", 12, 1000, 2.33e6),
        ("resnet34v2_1d", 1, 4096, 9.07e6),
        ("inception_time_tiny_context", 1, 360, 0.163e6),
        ("inception_time_base_context", 1, 360, 0.572e6),
        ("inception_time_large_context", 1, 360, 2.134e6),
        ("nsht_dual_evo", 1, 360, 1.31e6),
        ("alexnet_historical", 3, 1000, 57.02e6),
        ("vgg_historical", 3, 1000, 134.29e6),
        ("efficientnet_scalogram_b0", 3, 360, 4.54e6),
        ("joint_fusion_bigru", 3, 1000, 11.8e6),
        ("timm/swin_tiny_patch4_window7_224", 3, 1000, 27.92e6),
        ("timm/swin_small_patch4_window7_224", 6, 1000, 49.24e6),
        ("timm/swin_base_patch4_window7_224", 6, 1000, 87.28e6),
        ("timm/swin_large_patch4_window7_224", 6, 1000, 195.80e6),
        ("late/swin_tiny_patch4_window7_224", 6, 1000, 57.14e6),
        ("late/swin_small_patch4_window7_224", 6, 1000, 99.78e6),
        ("late/swin_base_patch4_window7_224", 6, 1000, 176.12e6),
        ("late/swin_large_patch4_window7_224", 6, 1000, 393.67e6),
        ("timm/resnet50", 3, 1000, 23.5e6 + 1.05e6),  # trunk, and the head of 2048 → 512 → 5
        ("timm/efficientnet_b3", 3, 1000, 10.7e6 + 0.79e6),
        ("timm/densenet121", 3, 1000, 7.0e6 + 0.53e6),
        ("timm/vit_base_patch16_224", 3, 1000, 85.8e6 + 0.40e6),
    ],
)
def test_parameters_are_the_stated_number_within_a_hundredth(name, n_leads, n_samples, expected):
    assert counted(name, n_leads, n_samples) == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize(("size", "trunk"), [("b1", 6.10e6), ("b2", 7.20e6), ("b3", 10.10e6), ("b4", 16.74e6)])
def test_trunks_of_the_scalogram_networks_have_the_stated_size(size, trunk):
    with torch.device("meta"):
        model = create_model(
            f"efficientnet_scalogram_{size}", n_leads=1, n_samples=360, n_classes=5, picture=(1, 224, 224)
        )
    assert n_parameters(model.encoder.backbone) == pytest.approx(trunk, rel=5e-3)


def test_ecgtransform_reads_a_batch_in_parts_and_both_ways_as_it_would_at_once():
    encoder = made("ecgtransform").encoder.train()
    for layer in encoder.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
        if isinstance(layer, torch.nn.MultiheadAttention):
            layer.dropout = 0.0
    signal = batch("ecgtransform", n_rows=19)["signal"]  # no whole number of parts
    channels = encoder.stages(signal_maps(signal, None)).series
    both = encoder.transformer(channels) + encoder.transformer(channels.flip(2))
    torch.testing.assert_close(encoder(signal), both.mean(dim=2), rtol=1e-4, atol=1e-5)


LAYER_NORM, ATTENTION_128, GATE, MLP = 2 * 128, 4 * (128**2 + 128), 256 * 128 + 128, 256 * 128 + 256 + 128 * 256 + 128


@pytest.mark.parametrize(
    ("ablation", "fewer"),
    [
        ("prototypes", -5 * 512),
        ("fixed_bank", 0),
        ("concatenation", 2 * 2 * (LAYER_NORM + ATTENTION_128 + GATE)),  # of two rounds of two streams
        ("one_round", 2 * (3 * LAYER_NORM + 2 * ATTENTION_128 + GATE + MLP)),
    ],
)
def test_ablations_of_nsht_lack_what_they_leave_out(ablation, fewer):
    assert counted(f"nsht_dual_evo_{ablation}", 1, 360) == counted("nsht_dual_evo", 1, 360) - fewer


def test_a_fixed_bank_of_wavelets_is_not_trained():
    frozen = [key for key, weight in made("nsht_dual_evo_fixed_bank").named_parameters() if not weight.requires_grad]
    assert frozen == ["encoder.spectral.bank.log_frequency", "encoder.spectral.bank.cycles"]


def test_streams_without_exchange_do_not_hear_each_other():
    apart, together = (made(name).eval().encoder for name in ("nsht_dual_evo_concatenation", "nsht_dual_evo"))
    signal = batch("nsht_dual_evo")["signal"]
    for encoder, same in ((apart, True), (together, False)):
        with torch.inference_mode():
            before = encoder(signal)
            encoder.spectral.planes[0].convolution.weight.zero_()
            after = encoder(signal)
        temporal = [slice(0, 128), slice(256, 384)]  # mean and maximum over its tokens
        assert all(torch.equal(before[:, part], after[:, part]) == same for part in temporal)
        assert not torch.equal(before[:, 128:256], after[:, 128:256])


def test_a_head_with_prototypes_gives_their_distances_in_training_alone():
    head = prototype_head(torch.nn.Linear)(6, 3)
    vector = 5 * torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    logits, distances = head.train()(vector).tensor_split((3,), dim=1)
    torch.testing.assert_close(head.eval()(vector), logits)
    for i, row in enumerate(vector):
        for c, prototype in enumerate(head.prototypes):
            expected = (row / row.norm() - prototype / prototype.norm()).square().sum()
            torch.testing.assert_close(distances[i, c], expected)


@pytest.mark.parametrize("name", ["timm/swin_tiny_patch4_window7_224", "late/swin_tiny_patch4_window7_224"])
def test_networks_of_timm_read_six_planes_in_one_forward_pass(name):
    model = create_model(name, n_leads=3, n_samples=1000, n_classes=5, picture=(6, 224, 224)).eval()
    with torch.inference_mode():
        assert model(picture=torch.randn(1, 6, 224, 224)).shape == (1, 5)


def test_network_of_timm_of_a_fixed_size_reads_pictures_of_another():
    model = create_model("timm/vit_tiny_patch16_224", n_leads=1, n_samples=100, n_classes=3, picture=(1, 64, 64)).eval()
    assert model(picture=torch.randn(2, 1, 64, 64)).shape == (2, 3)


def test_late_fusion_of_an_odd_number_of_planes_is_refused():
    with pytest.raises(UserError, match="two representations"):
        create_model("late/resnet10t", n_leads=3, n_samples=100, n_classes=3, picture=(3, 64, 64))


def test_attention_is_a_distribution_over_time_and_weighs_the_states():
    encoder = AttentionEncoder(Recurrence(torch.nn.GRU, 2, bidirectional=True)).eval()
    signal = torch.randn(4, 2, 60)
    context, weights = encoder.attend(signal)
    assert weights.shape == (4, 60)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))
    states, _ = encoder.recurrence(signal.transpose(1, 2))
    torch.testing.assert_close(context, (weights[:, :, None] * states).sum(dim=1))


def test_features_change_the_logits():
    model = create_model("resnet1d_wang", n_leads=1, n_samples=186, n_classes=5, n_features=4).eval()
    signal = torch.randn(2, 1, 186)
    assert not torch.equal(
        model(signal=signal, features=torch.zeros(2, 4)), model(signal=signal, features=torch.ones(2, 4))
    )


@pytest.mark.parametrize("name", list_models())
def test_model_names_its_paper_and_says_what_it_is(name):
    facts = model_facts(name)
    assert facts.source
    assert facts.summary.endswith(".")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnet1d_wong", "resnet1d_wang"),
        ("timm/swin_tiny_patch4_window7_225", "swin_tiny_patch4_window7_224"),
        ("tim/resnet50", "resnet50"),
    ],
)
def test_an_unknown_model_is_met_with_the_nearest_name(name, near):
    with pytest.raises(UnknownNameError, match=near):
        create_model(name, n_leads=1, n_samples=186, n_classes=5, picture=(1, 64, 64))


def test_a_picture_model_without_a_picture_is_refused():
    with pytest.raises(UserError, match="picture="):
        create_model("resnet18", n_leads=1, n_samples=186, n_classes=5)


def test_regions_of_rows_that_are_no_beats_are_refused():
    with pytest.raises(UserError, match="--unit beat:c360"):
        create_model("inception_time_tiny_context", n_leads=1, n_samples=186, n_classes=5)


def test_a_taken_name_is_refused():
    def resnet18(shape):
        return torch.nn.Identity()

    with pytest.raises(ValueError, match="registered already"):
        register_model(reads="signal", source="")(resnet18)
    with pytest.raises(ValueError, match="registered already"):
        register_family("timm", "", ())(lambda name: model_facts("resnet18"))


def test_families_name_models_that_can_be_made():
    for family in list_families():
        for name in family.examples:
            reads = "signal" if family.prefix == "cpc" else "picture"
            assert model_facts(f"{family.prefix}/{name}").reads == reads
