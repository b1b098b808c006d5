"""Contrastive predictive coding: whose frames stand beside the next one, what is learned, and who starts from it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ecgtrain.config import RunConfig, TransferConfig
from ecgtrain.items import learned_label
from ecgtrain.loader import load
from ecgtrain.models import create_model, model_facts
from ecgtrain.models.future import N_CONTEXT, FutureModel
from ecgtrain.run import execute
from ecgtrain.run_folder import new_run
from ecgtrain.transfer import Source, read_source, start_from
from pipelines.recipe import RecipeError, validate
from store.errors import UserError
from store.plan import Values

from .conftest import BEAT_SAMPLES, BEATS_OF_RECORD, N_RECORDS, make_beats_store

ROW = (N_CONTEXT + 1) * 24


def make(n_others: int = 1, n_samples: int = ROW) -> FutureModel:
    torch.manual_seed(0)
    model = create_model("cpc/resnet1d_wang", n_leads=1, n_samples=n_samples, n_classes=1 + n_others)
    assert isinstance(model, FutureModel)
    return model


def waves(n_rows: int, seed: int) -> torch.Tensor:
    """Rows of one frequency each, which tells whose the next frame is."""
    generator = torch.Generator().manual_seed(seed)
    hz = 0.02 + 0.2 * torch.rand(n_rows, 1, generator=generator)
    phase = 2 * math.pi * torch.rand(n_rows, 1, generator=generator)
    return torch.sin(2 * math.pi * hz * torch.arange(ROW) + phase)[:, None]


@pytest.mark.parametrize("training", [True, False])
def test_the_others_are_frames_of_other_rows(training):
    model = make(n_others=5).train(training)
    rows, frames = model._others(7, torch.device("cpu"))
    assert rows.shape == frames.shape == (7, 5)
    assert (rows != torch.arange(7)[:, None]).all()
    assert ((rows >= 0) & (rows < 7) & (frames >= 0) & (frames < N_CONTEXT)).all()
    assert len(rows.unique()) > 3


def test_the_others_are_drawn_by_the_seed_of_the_step_and_fixed_in_evaluation():
    model, signal = make(), waves(6, 1)
    with torch.no_grad():
        model.eval()
        assert torch.equal(model(signal), model(signal))
        model.encoder.eval()
        model.training = True
        drawn = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            drawn.append(model(signal))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0][:, 1], drawn[2][:, 1])
    assert torch.equal(drawn[0][:, 0], drawn[2][:, 0]), "the true frame is the same whoever stands beside it"


def test_a_row_alone_in_its_batch_stands_beside_its_own_past():
    model = make(n_others=3).eval()
    rows, frames = model._others(1, torch.device("cpu"))
    assert rows.tolist() == [[0, 0, 0]]
    assert N_CONTEXT not in frames
    assert model(waves(1, 0)).shape == (1, 4)


def test_samples_that_are_left_over_are_those_at_the_start():
    model, signal = make(n_samples=ROW + 5).eval(), waves(2, 3)
    with torch.no_grad():
        longer = torch.cat([torch.full((2, 1, 5), 9.0), signal], dim=2)
        assert torch.equal(model(longer), model(signal))


def test_the_next_frame_is_told_apart_from_those_of_rows_never_seen():
    model, signal, unseen = make().train(), waves(64, 4), waves(64, 5)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    target = torch.zeros(32, dtype=torch.int64)
    for step in range(30):
        loss = torch.nn.functional.cross_entropy(model(signal[32 * (step % 2) :][:32]), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(parameter.grad is not None for parameter in model.parameters())
    with torch.no_grad():
        logits = model.eval()(unseen)
    assert (logits.argmax(dim=1) == 0).float().mean() > 0.8


def test_a_run_of_the_model_starts_from_the_encoder(records_store, tmp_path):
    config = RunConfig(
        **model_facts("cpc/resnet1d_wang").settings, model="cpc/resnet1d_wang", store=records_store.location, epochs=1,
        samples_per_class=12, batch_size=6, device="cpu",
    )  # fmt: skip
    folder = new_run(tmp_path, "future", "run")
    assert execute(config, records_store, folder), (folder.path / "run.log").read_text()
    source = read_source(folder.path)
    assert source.classes == ("next", "other 1")
    assert source.past["objective"] == "future"
    shape = load(records_store, RunConfig(model="resnet1d_wang", device="cpu")).shape
    ours = create_model("resnet1d_wang", **vars(shape))
    fit = start_from(ours, source, TransferConfig(), records_store.label("superclass").classes)
    assert set(fit.matched) == {name for name in ours.state_dict() if name.startswith("encoder.")}
    assert all(name.startswith(("pool", "summary.")) for name in fit.unexpected)


def test_the_encoder_starts_from_a_run_of_its_own_model_or_of_the_future():
    ours, other = make(), create_model("resnet1d_wang", n_leads=1, n_samples=ROW, n_classes=5)
    fit = start_from(ours, Source(Path("run"), other.state_dict(), ("N", "S")), TransferConfig(), ("next", "other 1"))
    assert set(fit.matched) == {name for name in ours.state_dict() if name.startswith("encoder.")}
    assert torch.equal(
        ours.encoder.state_dict()[first := next(iter(ours.encoder.state_dict()))], other.encoder.state_dict()[first]
    )
    again = start_from(make(n_others=3), Source(Path("run"), ours.state_dict()), TransferConfig(), ("next",) * 4)
    assert set(again.matched) == set(ours.state_dict())


def test_padded_rows_have_no_next_frame(tmp_path):
    n = N_RECORDS * BEATS_OF_RECORD
    length = np.where(np.arange(n) % 3 == 0, 90, BEAT_SAMPLES).astype(np.int32)
    store = make_beats_store(tmp_path / "padded.zarr", {"column/valid_n": Values(length, {})})
    label = learned_label(store, RunConfig(model="cpc/resnet1d_wang", scheme="future", others=3), "future")
    assert label.classes == ("next", "other 1", "other 2", "other 3")
    assert label.values.tolist() == np.where(length < BEAT_SAMPLES, -1, 0).tolist()


@pytest.mark.parametrize(
    "keys", [{"model": "resnet1d_wang", "scheme": "future"}, {"model": "cpc/resnet1d_wang", "scheme": "frame_beat"}]
)
def test_future_and_its_models_go_together(keys):
    with pytest.raises(RecipeError, match="scheme future is for the models cpc/"):
        validate(RunConfig, keys, "run")


@pytest.mark.parametrize(
    ("name", "said"),
    [("resnet18", "reads picture"), ("class_prior", "no encoder of signals"), ("resnet1d_wong", "resnet1d_wang")],
)
def test_models_without_an_encoder_of_signals_are_refused(name, said):
    with pytest.raises(UserError, match=said):
        create_model(f"cpc/{name}", n_leads=1, n_samples=ROW, n_classes=2)
