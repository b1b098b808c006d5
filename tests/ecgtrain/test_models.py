from __future__ import annotations

import pytest
import torch

from ecgtrain.models import create_model, list_models, model_facts, register_model
from ecgtrain.models.recurrent import BiGruAttentionEncoder
from store.errors import UnknownNameError, UserError

N_ROWS = 3


def n_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def batch(name: str, n_leads: int, n_samples: int, n_features: int) -> dict[str, torch.Tensor]:
    reads = model_facts(name).reads
    made = {
        "signal": torch.randn(N_ROWS, n_leads, n_samples),
        "picture": torch.randn(N_ROWS, n_leads, 48, 48),
        "features": torch.randn(N_ROWS, n_features),
    }
    wanted = {"signal": ["signal"], "picture": ["picture"], "both": ["signal", "picture"]}[reads]
    return {key: made[key] for key in [*wanted, *(["features"] if n_features and reads != "picture" else [])]}


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize(("n_leads", "n_samples", "n_features"), [(1, 186, 14), (3, 250, 0)], ids=["beats", "records"])
def test_every_model_maps_a_batch_to_logits_and_learns_with_all_its_weights(name, n_leads, n_samples, n_features):
    inputs = batch(name, n_leads, n_samples, n_features)
    model = create_model(
        name,
        n_leads=n_leads,
        n_samples=n_samples,
        n_classes=5,
        picture=(n_leads, 48, 48),
        n_features=inputs.get("features", torch.empty(0, 0)).shape[1],
    )
    logits = model(**inputs)
    assert logits.shape == (N_ROWS, 5)
    assert torch.isfinite(logits).all()
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", list_models())
def test_a_row_gets_the_same_logits_alone_as_among_others(name):
    inputs = batch(name, 2, 200, 0)
    model = create_model(name, n_leads=2, n_samples=200, n_classes=4, picture=(2, 48, 48)).eval()
    alone = model(**{key: value[:1] for key, value in inputs.items()})
    torch.testing.assert_close(alone, model(**inputs)[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "n_leads", "expected"),
    [
        ("resnet1d_wang", 12, 473_349),  # published as 0.473 M
        ("bigru_attention", 3, 399_877 + 256 * 128 + 128 + 128),  # BiGRU with head, then W, b and v of the attention
        ("bigru_attention", 12, 406_789 + 256 * 128 + 128 + 128),
        ("resnet18", 3, 11_179_077),  # 11.18 M
    ],
)
def test_parameters_are_the_published_number(name, n_leads, expected):
    with torch.device("meta"):
        model = create_model(name, n_leads=n_leads, n_samples=1000, n_classes=5, picture=(n_leads, 224, 224))
    assert n_parameters(model) == expected


def test_joint_fusion_has_about_the_stated_parameters():
    with torch.device("meta"):
        model = create_model("joint_fusion", n_leads=3, n_samples=1000, n_classes=5, picture=(3, 224, 224))
    assert n_parameters(model) == pytest.approx(11.8e6, rel=5e-3)


def test_attention_is_a_distribution_over_time_and_weighs_the_states():
    encoder = BiGruAttentionEncoder(n_leads=2).eval()
    signal = torch.randn(4, 2, 60)
    context, weights = encoder.attend(signal)
    assert weights.shape == (4, 60)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))
    states, _ = encoder.gru(signal.transpose(1, 2))
    torch.testing.assert_close(context, (weights[:, :, None] * states).sum(dim=1))


def test_features_change_the_logits():
    model = create_model("resnet1d_wang", n_leads=1, n_samples=186, n_classes=5, n_features=4).eval()
    signal = torch.randn(2, 1, 186)
    assert not torch.equal(
        model(signal=signal, features=torch.zeros(2, 4)), model(signal=signal, features=torch.ones(2, 4))
    )


def test_an_unknown_model_is_met_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match="resnet1d_wang"):
        create_model("resnet1d_wong", n_leads=1, n_samples=186, n_classes=5)


def test_a_picture_model_without_a_picture_is_refused():
    with pytest.raises(UserError, match="picture="):
        create_model("resnet18", n_leads=1, n_samples=186, n_classes=5)


def test_a_taken_name_is_refused():
    def resnet18(shape):
        return torch.nn.Identity()

    with pytest.raises(ValueError, match="registered already"):
        register_model(reads="signal", source="")(resnet18)
