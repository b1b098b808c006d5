"""How representations are asked for, and what a mistake is told."""

from __future__ import annotations

import json

import pytest

from ecgprep.representations import list_representations, parse_reps
from store.errors import UnknownNameError, UserError

RECORD = {"kind": "record", "fs_hz": 100.0, "n_samples": 1000}
BEAT = {"kind": "beat", "fs_hz": 360.0, "n_samples": 186}


def test_list_representations():
    assert list_representations() == ["cwt", "gaf", "mtf", "phasogram", "rp", "spectrogram"]


def test_request_with_parameters_and_names():
    reps = parse_reps("gaf, cwt:size=128:wavelet=cmor2.0-1.0,gaf:method=both:as=mygaf", **RECORD)
    assert [rep.name for rep in reps] == ["gaf", "cwt", "mygaf_gasf", "mygaf_gadf"]
    assert [rep.shape for rep in reps] == [(224, 224), (128, 128), (224, 224), (224, 224)]
    assert reps[1].parameters()["wavelet"] == "cmor2.0-1.0"
    assert reps[3].parameters()["method"] == "difference"


def test_both_fields_have_their_own_names():
    assert [rep.name for rep in parse_reps("gaf:method=both", **RECORD)] == ["gasf", "gadf"]


def test_nothing_is_asked_for():
    assert parse_reps("", **RECORD) == []


@pytest.mark.parametrize("name", ["cwt", "gaf", "mtf", "phasogram", "spectrogram"])
@pytest.mark.parametrize("row", [RECORD, BEAT], ids=["record", "beat"])
def test_parameters_are_json_and_make_an_equal_representation(name, row):
    (rep,) = parse_reps(name, **row)
    about = json.loads(json.dumps(rep.parameters()))
    assert about.pop("representation") == name
    assert about.pop("value_range") == list(rep.value_range)
    assert type(rep)(name=name, **about) == rep
    assert rep.shape == ((224, 224) if row is RECORD else (128, 128))


@pytest.mark.parametrize("name", ["cwt", "gaf", "mtf", "phasogram", "spectrogram"])
def test_every_parameter_is_described(name):
    (rep,) = parse_reps(name, **RECORD)
    assert all(field.description for field in type(rep).model_fields.values())


def test_defaults_of_records_and_beats():
    record = {rep.name: rep.parameters() for rep in parse_reps("cwt,spectrogram", **RECORD)}
    beat = {rep.name: rep.parameters() for rep in parse_reps("cwt,spectrogram", **BEAT)}
    expected_cwt = {"n_freqs": 128, "f_min_hz": 0.5, "f_max_hz": 40.0, "value": "log10_power"}
    assert record["cwt"].items() >= expected_cwt.items()
    assert beat["cwt"].items() >= {"n_freqs": 64, "f_min_hz": 1.0, "f_max_hz": 60.0, "value": "log1p_magnitude"}.items()
    assert record["spectrogram"].items() >= {"window": 64, "hop": 4, "nfft": 448}.items()
    assert beat["spectrogram"].items() >= {"window": 48, "hop": 1, "nfft": 256}.items()


def test_defaults_keep_their_durations_at_other_sampling_frequencies():
    (at_500,) = parse_reps("spectrogram", kind="record", fs_hz=500.0, n_samples=5000)
    assert (at_500.window, at_500.hop, at_500.nfft) == (320, 20, 2240)
    (at_125,) = parse_reps("cwt", kind="beat", fs_hz=100.0, n_samples=150)
    assert at_125.f_max_hz == 48.0


@pytest.mark.parametrize(
    ("request_text", "message"),
    [
        ("gfa", "unknown representation 'gfa'. Did you mean 'gaf'?"),
        ("gaf:sise=3", "unknown parameter of gaf 'sise'. Did you mean 'size'?"),
        ("cwt:fs_hz=3", "unknown parameter of cwt 'fs_hz'."),
        ("gaf:method=sumation", "unknown method of gaf 'sumation'. Did you mean 'summation'?"),
        ("gaf:method=bth", "Did you mean 'both'?"),
        ("cwt:wavelet=cmor1.5", "unknown wavelet 'cmor1.5'. Did you mean 'cmor1.5-1.0'?"),
        ("cwt:preset=cwt_beat_lg", "Did you mean 'cwt_beat_log'?"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(request_text, message):
    with pytest.raises(UnknownNameError) as caught:
        parse_reps(request_text, **RECORD)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("request_text", "message"),
    [
        ("gaf,gaf", "two representations would be called 'gaf'"),
        ("gaf:size", "'size' is not of the form parameter=value"),
        ("gaf:size=8:size=9", "size is given twice"),
        ("gaf:size=big", "size=big: Input should be a valid integer"),
        ("gaf:size=1", "size=1: Input should be greater than or equal to 2"),
        ("gaf:as=My Gaf", "as=My Gaf: name an array by a small letter, then small letters, digits, _ and -"),
        ("cwt:f_max_hz=50", "f_max_hz 50 must lie below half the sampling frequency, 50 Hz"),
        ("cwt:f_min_hz=40", "f_min_hz 40 must lie below f_max_hz 40"),
        ("cwt:wavelet=cmor0.1-1.0", "B C² of cmorB-C must be at least 1"),
        ("phasogram:wavelet=morl", "the real wavelet 'morl' has no phase"),
        ("spectrogram:window=65", "window 65 must be even"),
        ("spectrogram:nfft=100:window=64", "height 224 needs an nfft of at least 448"),
        ("spectrogram:window=2000:nfft=2048", "too long for rows of 1000 samples"),
        ("spectrogram:size=big", "height=big: Input should be a valid integer"),
    ],
)
def test_values_that_do_not_fit_are_refused_in_one_line(request_text, message):
    with pytest.raises(UserError) as caught:
        parse_reps(request_text, **RECORD)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
