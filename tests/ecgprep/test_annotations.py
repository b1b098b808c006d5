"""Labels of frames, by hand-worked cases."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import wfdb

from ecgprep.annotations import (
    Annotations,
    beat_class,
    heart_rate_class,
    label_frames,
    read_annotations,
    rhythm_class,
)
from store.errors import RecordError
from store.vocabulary import BEAT_SCHEMES, FRAME_BEAT_CLASSES, FRAME_BEAT_OF, FRAME_RHYTHM_CLASSES, HEART_RATE_CLASSES


@pytest.mark.parametrize("ticks_hz", [None, 360, 720, 1000])
def test_samples_are_those_of_the_record_whatever_the_file_counts_by(tmp_path: Path, ticks_hz: int | None) -> None:
    (tmp_path / "a.hea").write_text("a 1 360 5000\na.dat 16 200/mV 12 0 0 0 0 II\n")
    samples = np.array([90, 450, 811, 4000])
    ticks = samples if ticks_hz is None else np.rint(samples * ticks_hz / 360).astype(int)
    wfdb.wrann(
        "a", "atr", ticks, ["N", "V", "+", "N"], fs=ticks_hz, aux_note=["", "", "(N", ""], write_dir=str(tmp_path)
    )
    marked = read_annotations(tmp_path / "a")
    assert marked.r_peaks.tolist() == [90, 450, 4000]
    assert marked.rhythm_starts.tolist() == [811]


def test_a_beat_that_is_marked_twice_is_one_and_marks_come_in_the_order_of_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.hea").write_text("a 1 360 5000\na.dat 16 200/mV 12 0 0 0 0 II\n")
    (tmp_path / "a.atr").write_bytes(b"\0\0")
    samples, symbols = np.array([450, 90, 450, 4000, 811, 811]), list("VNNN+N")
    read = SimpleNamespace(symbol=symbols, sample=samples, aux_note=["", "", "", "", "(AFIB", ""], fs=None)
    monkeypatch.setattr(wfdb, "rdann", lambda path, extension: read)
    marked = read_annotations(tmp_path / "a")
    assert (marked.r_peaks.tolist(), "".join(marked.symbols)) == ([90, 450, 811, 4000], "NVNN")
    assert (marked.rhythm_starts.tolist(), list(marked.rhythms)) == ([811], ["(AFIB"])
    assert marked.n_dropped == {"N": 1, "+": 1}


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ("", "undefined"),
        ("normal normal undefined", "normal"),
        ("undefined undefined normal", "undefined"),
        ("normal normal normal PVC", "PVC"),
        ("PVC PAC PAC aberrated normal normal normal", "PAC"),
        ("PVC PAC", "PAC"),
    ],
    ids=["no beat", "normal", "undefined", "one ectopic", "most frequent ectopic", "a tie goes to the first class"],
)
def test_beats_of_a_frame(kinds: str, expected: str) -> None:
    assert beat_class(np.array(kinds.split(), dtype=np.str_)) == expected


@pytest.mark.parametrize(
    ("lasting", "expected"),
    [
        ({}, "undefined"),
        ({"normal": 100}, "normal"),
        ({"normal": 100, "AFIB": 1}, "AFIB"),
        ({"AFL": 5, "AFIB": 4, "normal": 90}, "AFL"),
        ({"normal": 3, "noise": 4, "end": 5}, "end"),
        ({"normal": 90, "undefined": 10}, "undefined"),
    ],
    ids=["nothing", "normal", "a little AF", "longest of AF and flutter", "longest of the rest", "partly unmarked"],
)
def test_rhythm_of_a_frame(lasting: dict[str, int], expected: str) -> None:
    assert rhythm_class(lasting) == expected


@pytest.mark.parametrize(
    ("peaks", "expected"),
    [
        ([], "noise"),
        ([10], "noise"),
        ([0, 251], "bradycardia"),
        ([0, 250], "normal"),
        ([0, 150, 300], "normal"),
        ([0, 149, 298], "tachycardia"),
        ([5, 5], "tachycardia"),
    ],
    ids=["no beat", "one beat", "under 60", "60", "100", "over 100", "one sample marked twice"],
)
def test_heart_rate_of_a_frame_at_250_hz(peaks: list[int], expected: str) -> None:
    assert heart_rate_class(np.array(peaks, np.int64), 250.0) == expected


def test_first_beat_of_a_frame_is_not_whole_and_rhythms_last_into_the_next_frame() -> None:
    marked = Annotations(
        np.array([50, 300, 550, 1050, 1300, 1550, 2100]),
        np.array(list("NNNVNNS")),
        np.array([600, 1400]),
        ["(AFIB", ")"],
    )
    start = np.array([0, 1000, 2000])
    found = label_frames(marked, start, start + 1000, 250.0)
    assert [FRAME_BEAT_CLASSES[i] for i in found["frame_beat"]] == ["normal", "normal", "undefined"]
    assert [FRAME_RHYTHM_CLASSES[i] for i in found["frame_rhythm"]] == ["AFIB", "AFIB", "end"]
    assert [HEART_RATE_CLASSES[i] for i in found["heart_rate"]] == ["normal", "normal", "noise"]


@pytest.mark.parametrize(
    ("peaks", "rhythm_starts", "unknown"),
    [
        ([], [600], {"frame_beat", "heart_rate"}),
        ([50, 300], [], {"frame_rhythm"}),
        ([], [], {"frame_beat", "frame_rhythm", "heart_rate"}),
    ],
)
def test_what_an_annotator_does_not_judge_is_unknown(
    peaks: list[int], rhythm_starts: list[int], unknown: set[str]
) -> None:
    marked = Annotations(
        np.array(peaks, np.int64), np.array(["N"] * len(peaks)), np.array(rhythm_starts), ["(AFIB"] * len(rhythm_starts)
    )
    found = label_frames(marked, np.array([0, 1000]), np.array([1000, 2000]), 250.0)
    assert {scheme for scheme, values in found.items() if (values == -1).all()} == unknown
    assert all((found[scheme] >= 0).all() for scheme in found.keys() - unknown)


def test_marks_of_minutes_are_no_beats(tmp_path: Path) -> None:
    (tmp_path / "a.hea").write_text("a 1 100 60000\na.dat 16 200/mV 12 0 0 0 0 ECG\n")
    wfdb.wrann("a", "apn", np.arange(10) * 6000, list("NNNAAANNAN"), write_dir=str(tmp_path))
    with pytest.raises(RecordError, match=r"the beats that a\.apn marks are 60 s apart: they are none; name another"):
        read_annotations(tmp_path / "a", "apn")


@pytest.mark.parametrize(("first", "last"), [(300, None), (300, 400)])
def test_a_file_that_lost_a_part_is_damaged(tmp_path: Path, first: int, last: int | None) -> None:
    """Marks are counted from one to the next, so that a hole moves all that follow."""
    (tmp_path / "a.hea").write_text("a 1 360 650000\na.dat 16 200/mV 12 0 0 0 0 II\n")
    wfdb.wrann("a", "atr", np.arange(100, 100_100, 300), ["N"] * 334, write_dir=str(tmp_path))
    file = tmp_path / "a.atr"
    raw = bytearray(file.read_bytes())
    raw[first:last] = bytes(len(raw[first:last]))
    file.write_bytes(raw)
    with pytest.raises(RecordError, match=r"a\.atr holds 16 zero bytes in a row: it is damaged"):
        read_annotations(tmp_path / "a")


def test_every_beat_symbol_has_a_kind() -> None:
    assert FRAME_BEAT_OF.keys() == BEAT_SCHEMES["aami"].keys()
    assert set(FRAME_BEAT_OF.values()) == set(FRAME_BEAT_CLASSES)
