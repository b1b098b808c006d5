"""What must hold of every picture of every row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ecgprep.representations import dequantise, list_representations, parse_reps, quantise, render_all
from ecgprep.representations.blocks import Block
from ecgprep.representations.mtf import MarkovTransitionField

ALL = (
    "gaf:size=32:method=both,gaf:range_mv=2.5:as=fixed:size=32,mtf:size=32,rp:size=32,rp:size=32:dimension=3:delay=2:threshold=0.2:as=recurs,cwt:size=32,cwt:size=32:preset=cwt_ptbxl_log:as=log,"
    "phasogram:size=32,spectrogram:height=32:width=20,spectrogram:scale=linear:size=32:as=linear"
)
BEAT = {"kind": "beat", "fs_hz": 360.0, "n_samples": 100}
REPS = {rep.name: rep for rep in parse_reps(ALL, **BEAT)}
rows_of_counts = arrays(np.int16, (3, 100), elements=st.integers(-5000, 5000))
few = settings(max_examples=25, deadline=None)


@pytest.fixture(params=list(REPS))
def rep(request):
    return REPS[request.param]


def test_every_kind_is_covered():
    assert {rep.kind_name for rep in REPS.values()} == set(list_representations())


@few
@given(counts=rows_of_counts)
def test_values_are_finite_and_within_their_range(counts):
    for name, planes in render_all(list(REPS.values()), counts, stored=False).items():
        assert np.isfinite(planes).all(), name
        low, high = REPS[name].value_range or (0, np.inf)
        assert low - 1e-5 <= planes.min(), name
        assert planes.max() <= high + 1e-5, name


@pytest.mark.parametrize("level", [0, 1234, -32767])
def test_a_constant_row_is_defined(level):
    expected = {"gasf": -1, "gadf": 0, "mtf": 1, "rp": 0, "recurs": 1, "cwt": 0, "log": 0, "phasogram": 0.5}
    drawn = render_all(list(REPS.values()), np.full((2, 100), level, np.int16), stored=False)
    for name, value in expected.items():
        np.testing.assert_array_equal(drawn[name], value, err_msg=name)
    assert all(np.isfinite(planes).all() for planes in drawn.values())


def test_a_silent_row_has_an_empty_spectrogram():
    drawn = render_all(list(REPS.values()), np.zeros((1, 100), np.int16), stored=False)
    assert (drawn["spectrogram"] == -80).all()
    assert (drawn["linear"] == 0).all()


@few
@given(counts=rows_of_counts)
def test_gramian_fields_are_symmetric_and_antisymmetric(counts):
    drawn = render_all(list(REPS.values()), counts, stored=False)
    np.testing.assert_allclose(drawn["gasf"], np.swapaxes(drawn["gasf"], -1, -2), atol=1e-6)
    np.testing.assert_allclose(drawn["gadf"], -np.swapaxes(drawn["gadf"], -1, -2), atol=1e-6)
    np.testing.assert_allclose(np.diagonal(drawn["gadf"], axis1=-2, axis2=-1), 0, atol=1e-6)


@few
@given(counts=rows_of_counts)
def test_distances_are_symmetric_and_zero_to_oneself(counts):
    drawn = render_all(list(REPS.values()), counts, stored=False)
    for name, to_itself in (("rp", 0), ("recurs", 1)):
        np.testing.assert_array_equal(drawn[name], np.swapaxes(drawn[name], -1, -2), err_msg=name)
        np.testing.assert_array_equal(np.diagonal(drawn[name], axis1=-2, axis2=-1), to_itself, err_msg=name)


@few
@given(counts=rows_of_counts, gain=st.integers(1, 5), offset=st.integers(-3000, 3000))
def test_fields_do_not_depend_on_gain_and_offset(counts, gain, offset):
    changed = (counts.astype(np.int32) * gain + offset).clip(-32768, 32767)
    same = (changed - offset == counts.astype(np.int32) * gain).all(axis=-1)
    for name in ("gasf", "gadf", "mtf", "rp"):
        before, after = (REPS[name].render(x[same] / np.float32(1000)) for x in (counts, changed))
        np.testing.assert_allclose(after, before, atol=2e-4, err_msg=name)


@few
@given(counts=rows_of_counts)
def test_transition_probabilities_sum_to_one_or_nothing(counts):
    """At full size the field's rows hold W's rows once a sample, so every bin that is left has one total."""
    field = MarkovTransitionField(name="mtf", size=100)
    block = Block(counts / np.float32(1000))
    bins = field._bins(block)
    drawn = field.render(counts / np.float32(1000))
    for plane, bin_of in zip(drawn, bins, strict=True):
        first_of_bin = np.unique(bin_of, return_index=True)[1]
        totals = plane[:, first_of_bin].sum(axis=1)
        assert ((np.abs(totals - 1) < 1e-5) | (totals == 0)).all()


@few
@given(counts=rows_of_counts)
def test_stored_values_are_within_half_a_step(counts):
    for rep in REPS.values():
        planes = rep.render(counts / np.float32(1000))
        stored = quantise(planes, rep)
        assert stored.dtype == rep.dtype
        if rep.value_range is None:
            np.testing.assert_allclose(dequantise(stored, rep), planes, rtol=2**-11, atol=1e-6)
        else:
            low, high = rep.value_range
            np.testing.assert_allclose(dequantise(stored, rep), planes, rtol=0, atol=(high - low) / 510 * 1.001)


def test_values_outside_the_range_are_clipped():
    low_and_high = quantise(np.array([[-7.0, 7.0]], np.float32), REPS["gasf"])
    np.testing.assert_array_equal(low_and_high, [[0, 255]])


def test_stored_pictures_are_the_rendered_ones_within_half_a_step(rep, beat_counts):
    (stored,) = render_all([rep], beat_counts).values()
    rendered = rep.render(beat_counts * np.float32(0.001))
    low, high = rep.value_range or (0.0, 0.0)
    np.testing.assert_allclose(dequantise(stored, rep), rendered, rtol=2**-11, atol=(high - low) / 510 * 1.001)


def test_together_or_alone_or_in_any_number_pictures_are_the_same(record_counts):
    row = {"kind": "record", "fs_hz": 100.0, "n_samples": 1000}
    reps = parse_reps("cwt:size=48,phasogram:size=48,gaf:size=48:method=both,mtf:size=48", **row)
    many = np.concatenate([record_counts] * 4)
    together = render_all(reps, many)
    for rep in reps:
        assert together[rep.name].shape == (8, 3, 48, 48)
        alone = np.stack([render_all([rep], lead)[rep.name] for lead in many.reshape(-1, 1000)])
        off = np.abs(alone.reshape(together[rep.name].shape).astype(int) - together[rep.name])
        assert np.minimum(off, 255 - off).max() <= 1, rep.name  # BLAS sums in another order for another size


def test_torch_draws_what_numpy_draws(rep, beat_counts):
    torch = pytest.importorskip("torch")
    on_numpy, on_torch = (
        render_all([rep], counts)[rep.name] for counts in (beat_counts, torch.from_numpy(beat_counts))
    )
    assert on_torch.dtype == getattr(torch, rep.dtype)
    off = np.abs(on_torch.numpy().astype(np.float32) - on_numpy)
    if rep.kind_name == "phasogram":
        off = np.minimum(off, 255 - off)
    assert off.max() <= (1 if rep.value_range else 1e-2)


@pytest.mark.parametrize("name", ["gasf", "mtf"])
def test_torch_leaves_padding_out_as_numpy_does(name, beat_counts):
    torch = pytest.importorskip("torch")
    valid_n, signal_mv = np.array([186, 90, 1, 0]), beat_counts / np.float32(1000)
    on_numpy = REPS[name].render(signal_mv, valid_n)
    on_torch = REPS[name].render(torch.from_numpy(signal_mv), torch.from_numpy(valid_n))
    np.testing.assert_allclose(on_torch.numpy(), on_numpy, atol=1e-6)


@pytest.mark.gpu
def test_a_gpu_draws_what_numpy_draws(rep, beat_counts):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    on_gpu = render_all([rep], torch.from_numpy(beat_counts).cuda())[rep.name].cpu().numpy().astype(np.float32)
    off = np.abs(on_gpu - render_all([rep], beat_counts)[rep.name])
    if rep.kind_name == "phasogram":
        off = np.minimum(off, 255 - off)
    assert off.max() <= (1 if rep.value_range else 1e-2)


def test_high_frequencies_are_at_the_top():
    row = {"kind": "record", "fs_hz": 100.0, "n_samples": 1000}
    tone = np.rint(500 * np.sin(2 * np.pi * 20 * np.arange(1000) / 100)).astype(np.int16)[None]
    for name, planes in render_all(parse_reps("cwt,spectrogram", **row), tone, stored=False).items():
        brightest = planes[0].mean(axis=1).argmax()
        assert brightest < 224 * 0.65, name
        assert brightest == pytest.approx({"cwt": 224 * np.log(2) / np.log(80), "spectrogram": 224 - 90}[name], abs=2)


@few
@given(values=arrays(np.float32, (3, 50), elements=st.integers(-9, 9)))
def test_neighbours_are_those_of_a_sorted_row(values):
    block, ordered = Block(np.zeros((3, 50), np.float32)), np.sort(values)
    for place, pair in zip((0, 2, 3, 47, 48), block.neighbours(values, (0, 2, 3, 47, 48)), strict=True):
        np.testing.assert_array_equal(np.stack(pair, axis=-1), ordered[:, place : place + 2])
