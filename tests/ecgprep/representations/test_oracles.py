"""Every representation against the library of the field, before quantisation."""

from __future__ import annotations

import numpy as np
import pytest

from ecgprep.representations import Representation, parse_reps
from ecgprep.representations.blocks import Block
from ecgprep.representations.wavelets import WaveletPicture

RECORD = {"kind": "record", "fs_hz": 100.0, "n_samples": 1000}
BEAT = {"kind": "beat", "fs_hz": 360.0, "n_samples": 186}
ROWS = [
    pytest.param("record_counts", RECORD, id="record"),
    pytest.param("beat_counts", BEAT, id="beat"),
    pytest.param("real_record_counts", RECORD, id="ptbxl", marks=pytest.mark.real),
    pytest.param("real_beat_counts", BEAT, id="mitdb", marks=pytest.mark.real),
]
TOLERANCE = {
    "gaf": 3e-6,
    "gaf:method=difference": 3e-6,
    "gaf:range_mv=2.5": 3e-6,
    "gaf:size=97": 3e-6,
    "mtf": 1e-6,
    "mtf:strategy=uniform:n_bins=4": 1e-6,
    "mtf:size=61": 1e-6,
    "rp": 1e-6,
    "rp:size=61": 1e-6,
    "rp:size=64:dimension=3:delay=4": 1e-6,
    "spectrogram": 0.02,  # dB; near the floor of -80 single precision is left with few digits
    "spectrogram:scale=linear": 2e-5,
}


def one(text: str, row: dict) -> Representation:
    (rep,) = parse_reps(text, **row)
    return rep


@pytest.mark.parametrize(("rows", "row"), ROWS)
@pytest.mark.parametrize("text", TOLERANCE)
def test_drawn_as_the_library_draws(text, rows, row, request):
    counts = request.getfixturevalue(rows)
    rep = one(text, row)
    drawn = rep.render(counts / np.float32(1000))
    assert drawn.dtype == np.float32
    assert drawn.shape == (*counts.shape[:2], *rep.shape)
    np.testing.assert_allclose(drawn, rep.reference(counts / 1000), rtol=0, atol=TOLERANCE[text])


@pytest.mark.parametrize(
    "text",
    [
        "gaf:size=224",
        "gaf:method=difference:size=224",
        "mtf:size=224",
        "rp:size=224",
        "rp:size=180:dimension=3:delay=4",
    ],
)
def test_a_picture_larger_than_the_row_is_the_resized_field(text, beat_counts):
    rep = one(text, BEAT)
    np.testing.assert_allclose(
        rep.render(beat_counts / np.float32(1000)), rep.reference(beat_counts / 1000), rtol=0, atol=3e-6
    )


@pytest.mark.parametrize(
    "text",
    [
        "gaf:size=64",
        "gaf:method=difference:size=64",
        "mtf:size=64",
        "mtf:size=224",
        "rp:size=64",
        "rp:size=224",
        "rp:size=64:dimension=2:delay=3",
    ],
)
def test_padding_is_left_out(text, beat_counts):
    rep = one(text, BEAT)
    valid_n = np.array([186, 120, 1, 0])
    padded = np.where(np.arange(186) < valid_n[:, None, None], beat_counts, 0)
    drawn = rep.render(padded / np.float32(1000), valid_n)
    np.testing.assert_allclose(drawn, rep.reference(padded / 1000, valid_n), rtol=0, atol=3e-6)
    first_empty = int(np.ceil((120 + 1) * rep.shape[0] / 186))
    assert not drawn[1, 0, first_empty:].any()
    assert not drawn[1, 0, :, first_empty:].any()
    assert not drawn[3].any()
    changed = padded + np.where(np.arange(186) < valid_n[:, None, None], 0, 700).astype(np.int16)
    np.testing.assert_array_equal(rep.render(changed / np.float32(1000), valid_n), drawn)


def test_states_recur_where_the_library_says(beat_counts):
    rep = one("rp:size=96:dimension=2:delay=2:threshold=0.1", BEAT)
    drawn, expected = rep.render(beat_counts / np.float32(1000)), rep.reference(beat_counts / 1000)
    assert set(np.unique(drawn)) == {0, 1}
    assert 0.05 < expected.mean() < 0.95
    assert (drawn != expected).mean() < 1e-4  # distances at the threshold itself may round either way


def coefficients(rep: WaveletPicture, signal_mv: np.ndarray) -> np.ndarray:
    real, imaginary = rep.coefficients(Block(signal_mv[None].astype(np.float32)))
    return real[0] + 1j * imaginary[0]


def direct_convolution(rep: WaveletPicture, signal_mv: np.ndarray) -> np.ndarray:
    """Sum x(t) psi*((t - b) / a) / sqrt(a) over the samples of the reflected row, in float64."""
    n, bandwidth = len(signal_mv), float(rep.wavelet.removeprefix("cmor").split("-")[0])
    centres = (np.arange(rep.width) + 0.5) * n / rep.width - 0.5
    rows = []
    for scale in rep.transform.scales:
        reach = int(8 * scale) + 1
        reflected = np.pad(signal_mv - signal_mv.mean(), reach, mode="symmetric")
        u = (np.arange(-reach, n + reach) - centres[:, None]) / scale
        conjugate = np.exp(-2j * np.pi * u - u**2 / bandwidth) / np.sqrt(np.pi * bandwidth)
        rows.append(conjugate @ reflected / np.sqrt(scale))
    return np.array(rows)


WAVELET_ROWS = [
    pytest.param("record_counts", RECORD, "", id="record"),
    pytest.param("record_counts", RECORD, ":size=97", id="odd-width"),
    pytest.param("record_counts", RECORD, ":size=64:wavelet=cmor2.0-1.0:f_max_hz=49", id="near-nyquist"),
    pytest.param("beat_counts", BEAT, "", id="beat"),
    pytest.param("beat_counts", BEAT, ":size=224", id="wider-than-the-beat"),
    pytest.param("real_record_counts", RECORD, "", id="ptbxl", marks=pytest.mark.real),
    pytest.param("real_beat_counts", BEAT, "", id="mitdb", marks=pytest.mark.real),
]


@pytest.mark.parametrize(("rows", "row", "options"), WAVELET_ROWS)
def test_wavelet_transform_is_the_direct_convolution(rows, row, options, request):
    signal_mv = request.getfixturevalue(rows)[0, 0] / 1000
    rep = one(f"phasogram{options}", row)
    expected = direct_convolution(rep, signal_mv)
    # Single precision: 2e-6 of the largest coefficient, and the wavelet's own mean of 4e-7.
    assert np.abs(coefficients(rep, signal_mv) - expected).max() < 3e-6 * np.abs(expected).max()


@pytest.mark.parametrize(("rows", "row", "options"), WAVELET_ROWS)
def test_phase_is_that_of_the_direct_convolution(rows, row, options, request):
    signal_mv = request.getfixturevalue(rows)[0, 0] / 1000
    (rep,) = parse_reps(f"phasogram{options}", **row)
    rep = rep.model_copy(update={"height": rep.n_freqs})
    expected = direct_convolution(rep, signal_mv)
    clear = np.abs(expected) > 0.0101 * np.abs(expected).max()
    phase = 2 * np.pi * (rep.render(signal_mv.astype(np.float32)) - 0.5)
    off = np.angle(np.exp(1j * (phase - np.angle(expected))))
    assert np.abs(off[clear]).max() < 1e-3
    assert clear.mean() > 0.1


@pytest.mark.parametrize("f_hz", [1.0, 5.0, 12.5, 30.0])
def test_a_pure_tone_gives_its_amplitude(f_hz):
    """At the tone's own frequency |C| is amplitude / 2 times the square root of the scale."""
    rep = one("cwt", {"kind": "record", "fs_hz": 100.0, "n_samples": 4000}).model_copy(
        update={"f_min_hz": f_hz, "f_max_hz": 1.1 * f_hz, "n_freqs": 2}
    )
    tone_mv = 0.8 * np.sin(2 * np.pi * f_hz * np.arange(4000) / 100 + 0.3)
    middle = np.abs(coefficients(rep, tone_mv))[-1, 80:-80]
    np.testing.assert_allclose(middle, 0.4 * np.sqrt(100 / f_hz), rtol=1e-4)


@pytest.mark.parametrize(("rows", "row", "options"), WAVELET_ROWS)
def test_wavelet_transform_is_near_that_of_pywavelets(rows, row, options, request):
    """PyWavelets averages over one sample and so is smaller by 1 - sinc(f / fs), 24 % at 0.4 fs."""
    signal_mv = request.getfixturevalue(rows)[0, 0] / 1000
    rep = one(f"phasogram{options}", row)
    ours, theirs = coefficients(rep, signal_mv), rep.reference_coefficients(signal_mv)
    off = np.abs(ours - theirs).max(axis=1) / np.abs(ours).max(axis=1)
    share = rep.transform.frequencies_hz / rep.fs_hz
    below = share < 0.25  # above, its images of the spectrum and the reach of the wavelet mix
    assert (off < 0.02 + 3 * (1 - np.sinc(share)))[below].all()


@pytest.mark.parametrize(("rows", "row"), ROWS)
@pytest.mark.parametrize("text", ["cwt", "phasogram"])
def test_wavelet_pictures_are_near_the_reference(text, rows, row, request):
    """The median pixel is within two grey levels; high frequencies are off as PyWavelets is (see above)."""
    counts = request.getfixturevalue(rows)[:1]
    rep = one(text, row)
    off = np.abs(rep.render(counts / np.float32(1000)) - rep.reference(counts / 1000))
    if text == "phasogram":
        off = np.minimum(off, 1 - off)
    low, high = rep.value_range
    assert np.median(off) < 2 / 255 * (high - low)
    assert np.quantile(off, 0.95) < 0.06 * (high - low)


def test_a_real_wavelet_draws_the_magnitude_of_its_real_transform(record_counts):
    rep = one("cwt:wavelet=morl:size=64:f_max_hz=20", RECORD)
    signal_mv = record_counts[0, 0] / 1000
    ours, theirs = coefficients(rep, signal_mv), rep.reference_coefficients(signal_mv)
    assert not ours.imag.any()
    assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()
