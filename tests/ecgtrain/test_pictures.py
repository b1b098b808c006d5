from __future__ import annotations

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

import ecgtrain.pictures
from ecgprep.representations import parse_reps, render_all
from ecgtrain.loader import loaders
from store.errors import UnknownNameError, UserError


def batches(data):
    return [*data.train.shuffled(0, 0), *data.test.in_order()]


@pytest.mark.parametrize("inputs", [("gaf",), ("signal", "gaf")], ids="+".join)
def test_drawn_pictures_are_the_stored_ones(drawn_store, inputs):
    made = [loaders(drawn_store, inputs, batch_size=64, pictures=how, device="cpu") for how in ("stored", "rendered")]
    assert made[0].preprocessing == made[1].preprocessing
    for stored, drawn in zip(*map(batches, made), strict=True):
        assert stored.inputs.keys() == drawn.inputs.keys()
        assert all(torch.equal(stored.inputs[name], drawn.inputs[name]) for name in stored.inputs)


def test_drawing_takes_one_thread_of_the_models(drawn_store, monkeypatch):
    seen = []

    def threads():
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    monkeypatch.setattr(ecgtrain.pictures, "render_all", lambda *given: seen.append(threads()) or render_all(*given))
    with threadpool_limits(2, user_api="blas"):
        batches(loaders(drawn_store, ("gaf",), batch_size=64, pictures="rendered", device="cpu"))
        assert threads() == {2}
    assert seen
    assert all(found == {1} for found in seen)


def test_pictures_that_are_not_stored_are_drawn(drawn_store):
    data = loaders(drawn_store, ("mtf:size=24",), batch_size=64, device="cpu")
    assert data.shape.picture == (1, 24, 24)
    assert "mtf drawn while training" in data.placed
    batch = next(data.test.in_order())
    (rep,) = parse_reps("mtf:size=24", kind="beat", fs_hz=360.0, n_samples=186)
    drawn = render_all([rep], drawn_store.signal[:][batch.rows])["mtf"]
    facts = data.preprocessing["picture"]
    expected = (drawn - facts["mean"][0]) / facts["sd"][0]
    np.testing.assert_allclose(batch.inputs["picture"].numpy(), expected, rtol=1e-5, atol=1e-5)


def test_changed_and_mixed_signals_have_pictures_of_their_own(drawn_store):
    plain = loaders(drawn_store, ("gaf",), batch_size=64, device="cpu")
    for options in ({"augmentation": {"wander_mv": 1.0}}, {"balance": "smote"}):
        data = loaders(drawn_store, ("gaf",), batch_size=64, device="cpu", **options)
        assert "drawn while training" in data.placed
        assert "drawn" not in plain.placed
    wandering = loaders(drawn_store, ("gaf",), batch_size=64, device="cpu", augmentation={"wander_mv": 1.0})
    one, other = (next(data.train.shuffled(0, 0)).inputs["picture"] for data in (plain, wandering))
    assert not torch.equal(one, other)


def test_copies_of_rows_have_the_stored_pictures(drawn_store):
    made = [
        loaders(drawn_store, ("gaf",), batch_size=64, pictures=how, balance="over", device="cpu")
        for how in ("auto", "stored", "rendered")
    ]
    assert ["drawn" in data.placed for data in made] == [False, False, True]
    for copies in zip(*(data.train.shuffled(0, 0) for data in made), strict=True):
        assert all(torch.equal(copies[0].inputs["picture"], other.inputs["picture"]) for other in copies[1:])


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        (("gaf",), {"pictures": "stored", "augmentation": {"gain": 0.1}}, "stored ones are not those of signals"),
        (("gaf",), {"pictures": "stored", "balance": "smote"}, "stored ones are not those of mixed rows"),
        (
            ("mtf",),
            {"pictures": "stored"},
            r"'mtf' is not stored; add it with `ecgprep build --dataset \S+ --reps mtf`",
        ),
        (("cwt",), {"pictures": "rendered"}, "does not say how 'cwt' is drawn"),
        (("gaf", "mtf:size=24"), {}, "need one size"),
    ],
)
def test_what_cannot_be_drawn_or_read_is_refused(drawn_store, inputs, options, said):
    with pytest.raises(UserError, match=said):
        loaders(drawn_store, inputs, **options)


def test_a_parameter_that_is_unknown_is_met_with_the_nearest(drawn_store):
    with pytest.raises(UnknownNameError, match="Did you mean 'size'"):
        loaders(drawn_store, ("gaf:sice=8",))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_pictures_drawn_on_a_gpu_are_within_one_level_of_the_stored_ones(drawn_store):
    made = [loaders(drawn_store, ("gaf",), pictures=how, device="cuda") for how in ("stored", "rendered")]
    sd = made[0].preprocessing["picture"]["sd"][0]
    for stored, drawn in zip(*(data.test.in_order() for data in made), strict=True):
        difference = (stored.inputs["picture"] - drawn.inputs["picture"]).abs() * sd
        assert difference.max() < 1.01
