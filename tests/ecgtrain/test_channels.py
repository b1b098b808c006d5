"""Named sets of leads and pictures, context of the past alone, and rows with padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ecgtrain.channels import CHANNEL_SETS, inputs_with, leads_of
from ecgtrain.inputs import input_shape, lead_numbers
from ecgtrain.loader import loaders
from ecgtrain.models import create_model
from ecgtrain.plan import resolve
from store.errors import UnknownNameError
from store.plan import Values

from .conftest import BEAT_SAMPLES, BEATS_OF_RECORD, N_RECORDS, make_beats_store


@pytest.mark.parametrize(
    ("channels", "leads"),
    [
        (["lead2"], ["II"]),
        (["leads3"], ["I", "II", "V3"]),
        (["composite_fixed"], ["II", "V2", "V5"]),
        (["fusion6"], ["II", "V2", "V5"]),
        (["V1", "lead2"], ["V1", "II"]),
    ],
    ids=lambda value: "+".join(value),
)
def test_sets_stand_for_their_leads(channels, leads):
    assert leads_of(channels) == leads


def test_twelve_leads_are_twelve():
    assert len(set(CHANNEL_SETS["leads12"].leads)) == 12


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["gaf"], ["cwt", "phasogram"]),
        (["signal", "gaf"], ["signal", "cwt", "phasogram"]),
        (["signal"], ["signal"]),
    ],
    ids=lambda value: "+".join(value),
)
def test_a_set_of_pictures_replaces_the_pictures_alone(inputs, expected):
    assert inputs_with(["fusion6"], inputs) == expected
    assert inputs_with(["lead2"], inputs) == inputs


def test_a_run_holds_the_leads_that_a_set_stands_for(records_store):
    request = {"model": "resnet18", "inputs": ["gaf"]}
    (config,) = resolve([request], {"channels": ["lead2"]}, [], records_store, "test")
    assert config.channels == ("II",)
    assert input_shape(records_store, config).picture == (1, 32, 32)


def test_a_missing_lead_is_answered_with_the_command_that_makes_it(records_store):
    with pytest.raises(UnknownNameError, match=r"ecgprep build --dataset \S+ --leads I,II,V3"):
        lead_numbers(records_store, ["leads3"])
    with pytest.raises(UnknownNameError, match="Did you mean 'lead2'"):
        lead_numbers(records_store, ["lead22"])


def test_causal_context_holds_nothing_that_comes_after_the_beat(linked_store):
    data = loaders(linked_store, ["signal"], features="rr_past", context=["previous"])
    assert data.shape.n_leads == 2
    assert data.shape.n_features == 8
    rows = data.train.rows[5:9]
    previous = linked_store.column("prev_row")[rows]
    assert (previous >= 0).all()
    values, before = (data.train.preparation.inputs(data.train.reader.take(of))["signal"] for of in (rows, previous))
    torch.testing.assert_close(values[:, 0], before[:, 1])
    assert data.preprocessing["signal"]["previous"] is True
    assert not any("next" in name for name in data.preprocessing["features"]["names"])


@pytest.fixture(scope="module")
def padded_store(tmp_path_factory):
    """The beats store where every third row has 120 samples and the rest is padding."""
    n = N_RECORDS * BEATS_OF_RECORD
    length = np.where(np.arange(n) % 3, BEAT_SAMPLES, 120).astype(np.int32)
    columns = {
        "column/valid_from": Values(np.zeros(n, np.int32), {}),
        "column/valid_n": Values(length, {}),
    }
    place: Path = tmp_path_factory.mktemp("padded") / "store" / "padded.zarr"
    return make_beats_store(place, columns)


@pytest.mark.parametrize("standardise", ["row", "training", "record"])
def test_padding_is_zero_whatever_the_standardisation_and_models_are_told_where_it_is(padded_store, standardise):
    data = loaders(padded_store, ["signal"], standardise=standardise, features="none", context=[])
    values = next(data.train.in_order()).inputs
    for i, row in enumerate(data.train.rows[:6]):
        stop = 120 if row % 3 == 0 else BEAT_SAMPLES
        assert values["extent"][i].tolist() == [0, stop]
        assert not values["signal"][i, :, stop:].any()
    model = create_model("resnet1d_wang", **vars(data.shape))
    assert torch.isfinite(model(**values)).all()


def test_statistics_of_training_leave_the_padding_out(padded_store):
    data = loaders(padded_store, ["signal"], standardise="training", features="none", context=[])
    stored = np.asarray(padded_store.signal[:]).astype(np.float64)[data.train.rows] * padded_store.scale_mv
    inside = np.arange(BEAT_SAMPLES) < padded_store.column("valid_n")[data.train.rows][:, None]
    assert data.preprocessing["signal"]["mean_mv"] == pytest.approx([stored[:, 0][inside].mean()])
    assert data.preprocessing["signal"]["sd_mv"] == pytest.approx([stored[:, 0][inside].std()])
