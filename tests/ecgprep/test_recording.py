"""Recordings of one's own in three formats: the same voltages whichever file they come from, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import edfio
import numpy as np
import pytest

from ecgprep.recording import RowShape, prepare_recording
from ecgprep.recording_files import find_recording, lead_name, read_recording
from store.errors import RecordError, UserError
from tests.recordings import make_signal_mv, write_beats, write_mitdb_record

FS_HZ = 360.0
PEAKS = np.arange(200, 30 * 360 - 200, 290)
RECIPE = {"dataset": "mitdb", "unit": "beat:centred186", "fs": 360.0, "leads": ["MLII"]}
SHAPE = RowShape(["MLII"], 186, padded=False)


@pytest.fixture(scope="module")
def signal_mv() -> np.ndarray:
    return make_signal_mv(np.random.default_rng(4), PEAKS, FS_HZ, (2, 30 * 360))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, signal_mv: np.ndarray) -> Path:
    """One signal as WFDB, as EDF in µV with labels of its own, and as CSV in mV and in µV."""
    place = tmp_path_factory.mktemp("own")
    write_mitdb_record(place, "holter", signal_mv, ("MLII", "V1"))
    write_beats(place, "holter", PEAKS.tolist(), ["N"] * len(PEAKS))
    signals = [
        edfio.EdfSignal(np.zeros(30 * 25), 25, label="Resp", physical_dimension="", physical_range=(-1, 1)),
        *(
            edfio.EdfSignal(row * 1000, 360, label=label, physical_dimension="uV", physical_range=(-5000, 5000))
            for row, label in zip(signal_mv, ("ECG MLII", "ECG V1"), strict=True)
        ),
    ]
    edfio.Edf(signals).write(place / "holter.edf")
    time_s = np.arange(signal_mv.shape[1]) / FS_HZ
    for name, header, scale in (("mv.csv", "time,EKG II,V1", 1), ("uv.csv", "t_s,II (uV),V1 (uV)", 1000)):
        columns = np.column_stack([time_s, *(signal_mv * scale)])
        np.savetxt(place / name, columns, delimiter=",", header=header, comments="", fmt="%.6f")
    return place


@pytest.mark.parametrize(
    ("name", "tolerance_mv"), [("holter.hea", 0.0026), ("holter.edf", 1e-4), ("mv.csv", 1e-5), ("uv.csv", 1e-5)]
)
def test_each_format_gives_the_same_millivolts_by_lead(folder, signal_mv, name, tolerance_mv):
    fs_hz = FS_HZ if name.endswith(".csv") else None
    record = read_recording(find_recording(folder / name), ["MLII"], fs_hz).record
    assert record.fs_hz == FS_HZ
    assert {record.leads[0], "MLII", "II"} == {"MLII", "II"}
    assert record.leads[1] == "V1"
    np.testing.assert_allclose(record.signal_mv, signal_mv, atol=tolerance_mv)


@pytest.mark.parametrize("name", ["holter.hea", "holter.edf", "mv.csv"])
def test_beats_are_found_and_cut_at_the_r_peaks(folder, name):
    fs_hz = FS_HZ if name.endswith(".csv") else None
    prepared = prepare_recording(folder / name, RECIPE, SHAPE, fs_hz=fs_hz)
    assert prepared.rows_mv.shape == (len(PEAKS), 1, 186)
    np.testing.assert_allclose(prepared.t_s, PEAKS / FS_HZ, atol=0.01)
    assert prepared.symbols is None
    assert np.isnan(prepared.rr_s[0][0])


def test_marked_beats_stand_in_for_detected_ones(folder):
    prepared = prepare_recording(folder / "holter", RECIPE, SHAPE, annotator="atr")
    np.testing.assert_array_equal(prepared.t_s, PEAKS / FS_HZ)
    assert prepared.labels("aami") == ["N"] * len(PEAKS)
    assert prepared.labels("superclass") is None


def test_a_recording_longer_than_a_stored_record_gives_a_row_each_stretch(folder):
    recipe = {"dataset": "ptbxl", "unit": "record", "fs": 100.0, "leads": ["II"]}
    prepared = prepare_recording(folder / "holter.edf", recipe, RowShape(["II"], 1000, padded=False))
    assert prepared.rows_mv.shape == (3, 1, 1000)
    np.testing.assert_allclose(prepared.t_s, [0, 10, 20])
    short = RowShape(["II"], 4000, padded=False)
    with pytest.raises(RecordError, match="lasts 30 s; this run reads 40 s"):
        prepare_recording(folder / "holter.edf", recipe, short)
    padded = prepare_recording(folder / "holter.edf", recipe, RowShape(["II"], 4000, padded=True))
    assert padded.valid_n.tolist() == [3000]
    assert not padded.rows_mv[:, :, 3000:].any()


@pytest.mark.parametrize(
    ("label", "lead"),
    [
        ("EKG II", "II"),
        ("ECG MLII", "MLII"),
        ("Lead-V1", "V1"),
        ("ECG Lead aVR", "aVR"),
        ("ECG1", "ECG1"),
        ("ECG", "ECG"),
    ],
)
def test_labels_name_leads(label, lead):
    assert lead_name(label) == lead


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        ("II\n0.1\n", {}, UserError, "--fs 250"),
        ("0.1,0.2\n0.1,0.3\n", {"fs_hz": 250.0}, RecordError, "no lead names"),
        ("II\nx\n", {"fs_hz": 250.0}, RecordError, "no table of numbers"),
        ("II (bpm)\n70\n", {"fs_hz": 250.0}, UserError, "'bpm' is not a voltage"),
        ("V1\n0.1\n0.2\n", {"fs_hz": 250.0}, RecordError, "lead MLII is missing; the record has V1"),
        ("II\n", {"fs_hz": 250.0}, RecordError, "no samples"),
    ],
    ids=["no rate", "no header", "no number", "no voltage", "no such lead", "no samples"],
)
def test_a_table_that_is_none_is_refused(tmp_path, text, options, error, message):
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(error, match=message):
        prepare_recording(tmp_path / "own.csv", RECIPE, SHAPE, **options)


@pytest.mark.parametrize(
    ("stated", "start_time"),
    [("12:30:00 01/02/2003", "2003-02-01T12:30:00"), ("12:30:00 31/02/2003", None), ("24:00:00 01/02/2003", None)],
)
def test_a_date_that_there_is_not_is_no_start(tmp_path, signal_mv, stated, start_time):
    write_mitdb_record(tmp_path, "dated", signal_mv, ("MLII", "V1"))
    header = tmp_path / "dated.hea"
    header.write_text(header.read_text().replace("360 10800", f"360 10800 {stated}"))
    read = read_recording(header, ["MLII"])
    assert (read.record.n_samples, read.start_time) == (10_800, start_time)


def test_files_that_are_no_recordings_are_named(tmp_path):
    (tmp_path / "own.edf").write_bytes(b"0       " + b"x" * 100)
    (tmp_path / "own.xyz").write_text("?")
    with pytest.raises(RecordError, match="cannot be read as EDF"):
        prepare_recording(tmp_path / "own.edf", RECIPE, SHAPE)
    with pytest.raises(UserError, match=r"WFDB \(.hea\), EDF \(.edf\) or CSV"):
        prepare_recording(tmp_path / "own.xyz", RECIPE, SHAPE)
    with pytest.raises(UserError, match="no such file"):
        prepare_recording(tmp_path / "none.csv", RECIPE, SHAPE)
    with pytest.raises(UserError, match="for CSV files"):
        prepare_recording(tmp_path / "own.edf", RECIPE, SHAPE, fs_hz=250.0)
    with pytest.raises(UserError, match="ready cut"):
        prepare_recording(tmp_path / "own.edf", {**RECIPE, "unit": "given:beat"}, SHAPE)
