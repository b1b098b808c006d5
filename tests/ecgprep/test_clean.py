"""Cleaning on the way into a store: filters by name, and short gaps filled and counted."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from ecgprep import index
from ecgprep.config import Prepare
from ecgprep.datasets import get_database
from ecgprep.datasets.base import Database, RecordRef
from ecgprep.filters import apply_filters, parse_filters
from ecgprep.index import IndexedRecord, Quarantined, index_record
from ecgprep.records import read_record
from ecgprep.synth import write_ptbdb
from store.errors import NothingLeftError, UserError
from store.read import open_store
from tests.ecgprep.conftest import Build
from tests.recordings import make_signal_mv, write_mitdb_record


def test_a_store_holds_the_filtered_signal_and_says_so(raw: Path, build_in: Build) -> None:
    plain = open_store(build_in(raw, dataset="ptbxl").place)
    store = open_store(build_in(raw, dataset="ptbxl", filters="bandpass:low_hz=1,baseline").place)
    assert plain.name != store.name
    assert store.attributes["recipe"]["filters"] == "bandpass:low_hz=1,baseline"
    record = read_record(raw / "ptb-xl" / store.column("record")[3].removeprefix("ptbxl/"))
    leads = [record.leads.index(lead.upper()) for lead in store.leads]
    expected = apply_filters(parse_filters("bandpass:low_hz=1,baseline"), record.signal_mv[leads], record.fs_hz)
    assert np.abs(store.signal[3] * store.scale_mv - expected).max() <= 0.5e-3 + 1e-9
    assert np.abs(store.signal[3] - plain.signal[3]).max() > 20


def test_a_wrong_filter_is_refused_before_any_file_is_read(tmp_path: Path, build_in: Build) -> None:
    with pytest.raises(UserError, match=r"unknown filter 'lowpass'"):
        build_in(tmp_path / "nowhere", dataset="ptbxl", filters="lowpass:hz=40")


def test_a_filter_beyond_the_records_rate_quarantines_it(raw: Path, build_in: Build) -> None:
    from store.errors import NothingLeftError

    with pytest.raises(NothingLeftError, match="filter notch at 60 Hz needs a rate above 120 Hz"):
        build_in(raw, dataset="ptbxl", filters="notch:hz=60")


def test_leads_of_a_day_are_worked_on_one_by_one_with_the_same_result(
    raw: Path, build_in: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(home: str) -> str:
        section = {"dataset": "mitdb", "unit": "window:2", "leads": ("MLII", "V1"), "fs": 250.0}
        return build_in(raw, home, filters="bandpass", **section).digest

    together = digest("together")
    monkeypatch.setattr("ecgprep.filters.GROUP_SAMPLES", 1)
    monkeypatch.setattr("ecgprep.records.PIECE_SAMPLES", 999)
    assert digest("one-by-one") == together


@pytest.mark.parametrize("fill_gaps_s", [0.2, 0.0])
def test_short_gaps_are_filled_and_counted_or_refused(
    raw: Path, tmp_path: Path, build_in: Build, fill_gaps_s: float
) -> None:
    place = shutil.copytree(raw, tmp_path / "raw") / "mitdb"
    signal_mv = make_signal_mv(np.random.default_rng(0), np.arange(200, 10_000, 300), 360.0, (2, 10_800))
    counts = np.rint(signal_mv.T * 200).astype(np.int64) + 1024
    counts[720:756, 0] = -2048  # format 212's mark of no value
    write_mitdb_record(place, "100", signal_mv, ("MLII", "V1"), d_signal=counts)
    result = build_in(tmp_path / "raw", dataset="mitdb", fill_gaps_s=fill_gaps_s)
    store = open_store(result.place)
    if not fill_gaps_s:
        (left_out,) = result.quarantined
        assert (left_out.record, left_out.stage) == ("mitdb/100", "quality")
        return
    filled_s = store.column("filled_s")
    assert set(filled_s[store.column("record") == "mitdb/100"].round(6)) == {np.float32(0.1)}
    assert not filled_s[store.column("record") != "mitdb/100"].any()


def silence(record: Path, start_s: float, stop_s: float, fs_hz: int = 1000, n_leads: int = 12) -> None:
    """Write zeros into a stretch of a record of format 16, and take its checksums away."""
    counts = np.fromfile(record.with_suffix(".dat"), "<i2").reshape(-1, n_leads)
    counts[int(start_s * fs_hz) : int(stop_s * fs_hz)] = 0
    counts.tofile(record.with_suffix(".dat"))
    header = record.with_suffix(".hea")
    header.write_text(re.sub(r"(?m)^(\S+ 16 \S+ \d+ -?\d+ -?\d+) -?\d+ ", r"\1 0 ", header.read_text()))


@pytest.mark.parametrize("max_pause_s", [5.0, 12.0])
def test_a_long_pause_is_refused_unless_it_is_allowed(tmp_path: Path, max_pause_s: float) -> None:
    folder = write_ptbdb(tmp_path, n_records=1, n_minutes=0.5)
    database = get_database("ptbdb")
    prepare = database.resolve(Prepare(dataset="ptbdb", unit="beat:centred186", max_pause_s=max_pause_s))
    (ref,) = database.find(folder, prepare).records
    silence(ref.path, 8, 16)
    made = index_record(database, ref, prepare)
    if max_pause_s > 8:
        assert isinstance(made, IndexedRecord)
    else:
        assert isinstance(made, Quarantined)
        assert "multilead finds no R peak from" in made.reason


def test_beats_beside_a_pause_are_left_out_of_a_long_record(tmp_path: Path) -> None:
    folder = write_ptbdb(tmp_path, n_records=1, n_minutes=2.0)
    database = get_database("ptbdb")
    prepare = database.resolve(Prepare(dataset="ptbdb", unit="beat:centred186"))
    (ref,) = database.find(folder, prepare).records
    silence(ref.path, 60, 67)
    made = index_record(database, ref, prepare)
    assert isinstance(made, IndexedRecord)
    assert made.rows.audit["no stretch over 5 s without a beat beside it"][1] == 2
    time_s = made.rows.columns["sample"] / 1000
    longest = np.diff(time_s).max()
    assert 7 < longest < 11
    assert np.nanmax(made.rows.columns["rr_next_s"]) < 5


def fail_at(record: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have one record trip an error that no code expects."""
    read_clean = index.read_clean

    def trip(database: Database, ref: RecordRef, prepare: Prepare) -> index.CleanRecord:
        if ref.record == record:
            raise error
        return read_clean(database, ref, prepare)

    monkeypatch.setattr(index, "read_clean", trip)


def test_a_fault_of_ours_costs_its_record_and_not_the_build(
    raw: Path, build_in: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at("mitdb/100", IndexError("list index\nout of range"), monkeypatch)
    result = build_in(raw, dataset="mitdb")
    (left_out,) = result.quarantined
    assert (left_out.record, left_out.stage) == ("mitdb/100", "unforeseen")
    assert re.fullmatch(
        r"IndexError at test_clean\.py:\d+, trip: list index out of range; this is a fault .* report it",
        left_out.reason,
    )
    assert "mitdb/100" not in open_store(result.place).column("record")
    with pytest.raises(NothingLeftError, match="record mitdb/100: IndexError at"):
        build_in(raw, home="strict", dataset="mitdb", strict=True)


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), MemoryError(), UserError("not so")])
def test_what_every_record_would_meet_stops_the_build(
    raw: Path, build_in: Build, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fail_at("mitdb/100", error, monkeypatch)
    with pytest.raises(type(error)):
        build_in(raw, dataset="mitdb")
