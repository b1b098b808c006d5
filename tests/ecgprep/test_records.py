"""Records: millivolts whatever the header's unit, leads by name, and rounding that is bounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ecgprep.annotations import read_annotations
from ecgprep.records import Record, check_clipped, check_quality, choose_leads, number_repeated, read_record, to_counts
from store.errors import RecordError
from tests.recordings import make_signal_mv, write_mitdb_record

SIGNAL = make_signal_mv(np.random.default_rng(0), np.arange(200, 3600, 300), 360.0, (2, 3600))


@pytest.mark.parametrize(("unit", "per_mv"), [("mV", 1), ("uV", 1e3), ("V", 1e-3), ("nV", 1e6), ("MV", 1)])
def test_units_become_millivolts(tmp_path: Path, unit: str, per_mv: float) -> None:
    gain = [200.0 / per_mv] * 2
    write_mitdb_record(tmp_path, "100", SIGNAL, ("MLII", "V1"), units=[unit] * 2, adc_gain=gain)
    record = read_record(tmp_path / "100")
    assert (record.leads, record.fs_hz, record.n_samples) == (("MLII", "V1"), 360.0, 3600)
    assert np.abs(record.signal_mv - SIGNAL).max() <= 0.5 / 200 + 1e-6


@pytest.mark.parametrize(
    ("sign", "encoding"),
    [("\N{MICRO SIGN}", "utf-8"), ("\N{MICRO SIGN}", "latin-1"), ("\N{GREEK SMALL LETTER MU}", "utf-8")],
)
@pytest.mark.parametrize("extra", ["", "x1"], ids=["our reader", "wfdb"])
def test_the_sign_of_micro_is_read_in_any_encoding(tmp_path: Path, sign: str, encoding: str, extra: str) -> None:
    """wfdb drops it, which leaves V."""
    write_mitdb_record(tmp_path, "100", SIGNAL, ("MLII", "V1"), units=["uV"] * 2, adc_gain=[0.2] * 2)
    header = tmp_path / "100.hea"
    text = header.read_text().replace("/uV", f"/{sign}V").replace(" 212 ", f" 212{extra} ")
    header.write_bytes(text.encode(encoding))
    assert np.abs(read_record(tmp_path / "100").signal_mv - SIGNAL).max() <= 0.5 / 200 + 1e-6


@pytest.mark.parametrize("extra", ["", "x1"], ids=["our reader", "wfdb"])
def test_lead_that_is_no_voltage_is_refused_and_the_others_are_not(tmp_path: Path, extra: str) -> None:
    write_mitdb_record(tmp_path, "100", SIGNAL, ("MLII", "RESP"), units=["mV", "l"])
    header = tmp_path / "100.hea"
    header.write_text(header.read_text().replace(" 212 ", f" 212{extra} "))
    record = read_record(tmp_path / "100")
    assert np.abs(choose_leads(record, ["MLII"], {}).signal_mv - SIGNAL[:1]).max() <= 0.5 / 200 + 1e-6
    with pytest.raises(RecordError, match="lead RESP is in 'l', which is not a voltage"):
        choose_leads(record, ["MLII", "RESP"], {})
    assert np.isnan(record.signal_mv[1]).all()


NAMES = ("I", "II", "AVR", "V1")


@given(data=st.data(), order=st.permutations(NAMES))
def test_leads_go_by_name_whatever_the_order_and_case(data: st.DataObject, order: list[str]) -> None:
    record = Record(tuple(order), 100.0, np.arange(4.0)[:, None] * np.ones(3), ())
    wanted = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    spelled = [data.draw(st.sampled_from([name, name.lower(), name.capitalize()])) for name in wanted]
    chosen = choose_leads(record, spelled, {})
    assert chosen.signal_mv[:, 0].tolist() == [order.index(name) for name in wanted]
    assert not chosen.substituted


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("ECG", "ECG", "V1"), ("ECG1", "ECG2", "V1")),
        (("ECG", "ECG", "ECG1"), ("ECG2", "ECG3", "ECG1")),
        (("ecg", "ECG"), ("ecg1", "ECG2")),
        (("", "V1", ""), ("1", "V1", "2")),
    ],
)
def test_names_that_are_repeated_get_numbers_that_tell_them_apart(
    names: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert number_repeated(names) == expected


def test_absent_lead_is_an_error_or_substituted_and_said() -> None:
    record = Record(("V5", "V2"), 360.0, np.array([[5.0], [2.0]]), ())
    with pytest.raises(RecordError, match="lead MLII is missing; the record has V5, V2"):
        choose_leads(record, ["MLII"], {})
    chosen = choose_leads(record, ["MLII"], {"MLII": "V5"})
    assert (chosen.signal_mv[0, 0], chosen.sources, chosen.substituted) == (5.0, ("V5",), True)


@given(hnp.arrays(np.float64, (2, 20), elements=st.floats(-32.7, 32.7)))
def test_rounding_is_off_by_half_a_microvolt_at_most(signal_mv: np.ndarray) -> None:
    counts, n_clipped = to_counts(signal_mv)
    assert (counts.dtype, n_clipped) == (np.int16, 0)
    assert np.abs(counts * 0.001 - signal_mv).max() <= 0.5e-3 + 1e-9


def test_clipping_is_counted_and_refused_above_one_in_a_thousand() -> None:
    signal_mv = np.zeros((1, 10_000))
    signal_mv[0, :10] = [40, -40] * 5
    counts, n_clipped = to_counts(signal_mv)
    assert (n_clipped, counts.max(), counts.min()) == (10, 32767, -32767)
    check_clipped(10, 10_000)
    with pytest.raises(RecordError, match=r"0\.11 % of the samples exceed ±32\.767 mV"):
        check_clipped(11, 10_000)


@pytest.mark.parametrize("fs_hz", [1 / 60, 1.0, 39.0])
def test_a_trend_is_no_ecg(fs_hz: float) -> None:
    with pytest.raises(RecordError, match=r"Hz, too few for an ECG \(at least 40 Hz\)"):
        check_quality(np.random.default_rng(0).normal(size=(1, 1000)), ["HR"], fs_hz)


def test_flat_lead_is_refused() -> None:
    with pytest.raises(RecordError, match="lead V1 is flat"):
        check_quality(np.stack([np.arange(9.0), np.full(9, 2.0)]), ["II", "V1"], 100.0)


@pytest.mark.parametrize(
    ("factor", "spans"), [(1e3, "lead (II|V1) spans .* mV"), (1e-3, "lead (II|V1) is flat|spans 0.00")]
)
def test_a_unit_that_is_off_by_a_thousand_is_refused(factor: float, spans: str) -> None:
    check_quality(SIGNAL, ["II", "V1"], 360.0)
    with pytest.raises(RecordError, match=spans):
        check_quality(SIGNAL * factor, ["II", "V1"], 360.0)


def test_one_artefact_does_not_make_a_unit_wrong() -> None:
    signal_mv = SIGNAL.copy()
    signal_mv[:, 500:700] = 25.0
    check_quality(signal_mv, ["II", "V1"], 360.0)


@pytest.mark.parametrize("gain", ["0", ""])
@pytest.mark.parametrize("extra", ["", "x1"], ids=["our reader", "wfdb"])
def test_a_lead_without_gain_is_read_but_not_taken(tmp_path: Path, gain: str, extra: str) -> None:
    write_mitdb_record(tmp_path, "100", SIGNAL, ("MLII", "V1"))
    header = tmp_path / "100.hea"
    first, ml2, v1, *_ = header.read_text().strip().split("\n")
    file, kind, _, rest = v1.split(" ", 3)
    v1 = f"{file} {kind}{extra} 0 {rest}" if gain else f"{file} {kind}{extra}"
    header.write_text("\n".join([first, ml2.replace(" 212 ", f" 212{extra} "), v1]) + "\n")
    record = read_record(tmp_path / "100")
    name = record.leads[1]
    assert record.unfit == {name: "has no gain in the header, so that its unit is unknown"}
    assert choose_leads(record, ["MLII"], {}).sources == ("MLII",)
    if gain:
        with pytest.raises(RecordError, match="lead V1 has no gain in the header, so that its unit is unknown"):
            choose_leads(record, ["V1"], {})


@pytest.mark.parametrize("extra", ["", "x1"], ids=["our reader", "wfdb"])
def test_a_file_that_is_too_short_or_missing_is_named(tmp_path: Path, extra: str) -> None:
    write_mitdb_record(tmp_path, "100", SIGNAL, ("MLII", "V1"))
    (tmp_path / "100.hea").write_text((tmp_path / "100.hea").read_text().replace(" 212 ", f" 212{extra} "))
    signals = tmp_path / "100.dat"
    signals.write_bytes(signals.read_bytes()[:-10])
    says = "says 10800" if extra else "says 3600"
    with pytest.raises(RecordError, match=rf"100\.dat holds .*{says}"):
        read_record(tmp_path / "100")
    signals.unlink()
    with pytest.raises(RecordError, match=r"100\.dat is missing, which 100\.hea names"):
        read_record(tmp_path / "100", (".hea",))


def test_signals_in_another_folder_are_refused(tmp_path: Path) -> None:
    write_mitdb_record(tmp_path, "100", SIGNAL, ("MLII", "V1"))
    (tmp_path / "other").mkdir()
    header = (tmp_path / "100.hea").rename(tmp_path / "other/100.hea")
    header.write_text(header.read_text().replace("100.dat", "../100.dat"))
    with pytest.raises(RecordError, match=r"100\.hea names \.\./100\.dat; signal files lie beside it"):
        read_record(tmp_path / "other/100", (".hea",))


@pytest.mark.parametrize("stated", ["360 0", "360", ""])
def test_a_record_whose_length_is_not_stated_is_as_long_as_its_file(tmp_path: Path, stated: str) -> None:
    write_mitdb_record(tmp_path, "100", SIGNAL, ("MLII", "V1"))
    theirs = wfdb.rdrecord(str(tmp_path / "100"))
    header = tmp_path / "100.hea"
    header.write_text(header.read_text().replace("100 2 360 3600", f"100 2 {stated}".strip()))
    ours = read_record(tmp_path / "100")
    assert ours.fs_hz == (360 if stated else 250)
    np.testing.assert_allclose(ours.signal_mv.T, theirs.p_signal, atol=1e-9)


def test_signals_of_a_file_that_do_not_stand_together_are_refused(tmp_path: Path) -> None:
    """Without checksums nothing else tells that they are not each a file of their own."""
    for name in ("100", "101"):
        write_mitdb_record(tmp_path, name, SIGNAL, ("MLII", "V1"))
    _, ml2, v1, *_ = (line.rsplit(" ", 3) for line in (tmp_path / "100.hea").read_text().splitlines())
    other = (tmp_path / "101.hea").read_text().splitlines()[1].rsplit(" ", 3)
    lines = ["100 3 360 3600", *(f"{line[0]} 0 0 {line[3]}" for line in (ml2, other, v1))]
    (tmp_path / "100.hea").write_text("\n".join(lines))
    with pytest.raises(RecordError, match="does not name the signals of a file one after the other"):
        read_record(tmp_path / "100")


def _write_frames(folder: Path, signals: list[np.ndarray], samples_a_frame: list[int]) -> None:
    """Write a record whose leads have several samples a frame, without a value at some."""
    n = len(signals)
    record = wfdb.Record(
        record_name="frames", n_sig=n, fs=125, sig_len=len(signals[0]) // samples_a_frame[0], fmt=["16"] * n,
        file_name=["frames.dat"] * n, samps_per_frame=samples_a_frame, e_d_signal=signals, sig_name=["II", "V1"],
        units=["mV"] * n, adc_gain=[200.0] * n, baseline=[7] * n, adc_res=[16] * n, adc_zero=[0] * n,
        block_size=[0] * n, init_value=[0] * n,
    )  # fmt: skip
    record.byte_offset = record.skew = [None] * n
    record.checksum = record.calc_checksum(expanded=True)
    record.wrsamp(expanded=True, write_dir=str(folder))


def test_frames_of_several_samples_are_read_whole_and_slower_leads_put_beside_them(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    signals = [generator.integers(-500, 500, n) for n in (1000, 4000)]
    signals[0][100] = signals[1][401] = -32768
    _write_frames(tmp_path, signals, [1, 4])
    ours = read_record(tmp_path / "frames")
    slow, fast = wfdb.rdrecord(str(tmp_path / "frames"), smooth_frames=False).e_p_signal
    assert (ours.leads, ours.fs_hz) == (("II", "V1"), 500.0)
    np.testing.assert_array_equal(ours.signal_mv[1], fast)
    assert np.flatnonzero(np.isnan(ours.signal_mv[1])).tolist() == [401]
    np.testing.assert_array_equal(ours.signal_mv[0, ::4], slow)
    np.testing.assert_allclose(ours.signal_mv[0, 2:396:4], (slow[:99] + slow[1:100]) / 2)
    assert np.flatnonzero(np.isnan(ours.signal_mv[0])).tolist() == list(range(397, 404))


def test_frames_of_several_samples_in_format_61_are_refused(tmp_path: Path) -> None:
    _write_frames(tmp_path, [np.arange(4000) % 500] * 2, [4, 4])
    header = tmp_path / "frames.hea"
    header.write_text(header.read_text().replace("16x4", "61x4"))
    with pytest.raises(RecordError, match="several samples a frame in format 61; write it anew in format 16"):
        read_record(tmp_path / "frames")


def test_annotations_count_frames_which_hold_several_samples(tmp_path: Path) -> None:
    _write_frames(tmp_path, [np.arange(4000) % 500] * 2, [4, 4])
    wfdb.wrann("frames", "atr", np.array([10, 900]), ["N", "V"], write_dir=str(tmp_path))
    assert read_annotations(tmp_path / "frames").r_peaks.tolist() == [40, 3600]
    lines = (tmp_path / "frames.hea").read_text().splitlines()
    (tmp_path / "both.hea").write_text("both/3 2 125 3000\nframes 1000\n~ 1000\nframes 1000\n")
    assert lines[0].split()[2] == "125"
    both, frames = read_record(tmp_path / "both", (".hea",)), read_record(tmp_path / "frames")
    assert (both.fs_hz, both.n_samples) == (500.0, 12_000)
    for start in (0, 8000):
        np.testing.assert_array_equal(both.signal_mv[:, start : start + 4000], frames.signal_mv)
    assert np.isnan(both.signal_mv[:, 4000:8000]).all()
    (tmp_path / "frames.atr").rename(tmp_path / "both.atr")
    assert read_annotations(tmp_path / "both").r_peaks.tolist() == [40, 3600]


@pytest.mark.parametrize("samples_a_frame", [1, 2])
def test_checksums_are_of_what_the_file_holds(tmp_path: Path, samples_a_frame: int) -> None:
    signals = [np.random.default_rng(i).integers(-500, 500, 2000) for i in range(2)]
    _write_frames(tmp_path, signals, [samples_a_frame] * 2)
    (tmp_path / "frames.dat").write_bytes((tmp_path / "frames.dat").read_bytes()[:-2] + b"\1\0")
    with pytest.raises(RecordError, match="checksum of V1 is"):
        read_record(tmp_path / "frames")


def test_a_lead_that_lags_is_put_in_its_place(tmp_path: Path) -> None:
    write_mitdb_record(tmp_path, "100", SIGNAL, ("MLII", "V1"))
    header = tmp_path / "100.hea"
    header.write_text(header.read_text().replace(" 212 ", " 212:3 ", 1))
    np.testing.assert_array_equal(read_record(tmp_path / "100").signal_mv.T, wfdb.rdrecord(str(header)[:-4]).p_signal)


@pytest.mark.parametrize("extra", ["", "x1"], ids=["our reader", "wfdb"])
def test_names_of_leads_need_not_be_ascii(tmp_path: Path, extra: str) -> None:
    write_mitdb_record(tmp_path, "100", SIGNAL, ("MLII", "V1"))
    header = tmp_path / "100.hea"
    header.write_text(header.read_text().replace("MLII", "Fühler").replace(" 212 ", f" 212{extra} "), encoding="utf-8")
    assert read_record(tmp_path / "100").leads == ("Fühler", "V1")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("100 2 ", "100 3 ", "100.hea says 3 signals and describes 2"),
        ("100 2 ", "100 1 ", "100.hea says 1 signals and describes 2"),
        (None, "100 0 360 3600\n", "has no signal: 100.hea names none"),
    ],
)
def test_a_header_that_describes_other_signals_than_it_counts_is_refused(
    tmp_path: Path, old: str | None, new: str, message: str
) -> None:
    write_mitdb_record(tmp_path, "100", SIGNAL, ("MLII", "V1"))
    header = tmp_path / "100.hea"
    header.write_text(header.read_text().replace(old, new, 1) if old else new)
    with pytest.raises(RecordError, match=message):
        read_record(tmp_path / "100")


def _write_segments(folder: Path, signal_mv: np.ndarray) -> None:
    """Write two halves that differ in gain, baseline, unit and format."""
    half = signal_mv.shape[1] // 2
    first = {"adc_gain": [100.0] * 2, "baseline": [0] * 2, "d_signal": np.rint(signal_mv[:, :half].T * 100).astype(int)}
    write_mitdb_record(folder, "one", signal_mv[:, :half], ("II", "V1"), **first)
    second = {
        "adc_gain": [2.0] * 2, "baseline": [300] * 2, "units": ["uV"] * 2, "fmt": ["16"] * 2,
        "d_signal": np.rint(signal_mv[:, half:].T * 2000).astype(int) + 300,
    }  # fmt: skip
    write_mitdb_record(folder, "two", signal_mv[:, half:], ("II", "V1"), **second)


def test_segments_are_read_by_their_own_gains_and_units(tmp_path: Path) -> None:
    signal_mv = np.random.default_rng(0).uniform(-1, 1, (2, 4000))
    _write_segments(tmp_path, signal_mv)
    (tmp_path / "all.hea").write_text("all/3 2 360 4500\none 2000\n~ 500\ntwo 2000\n# 69 M\n")
    record = read_record(tmp_path / "all", (".hea",))
    assert (record.leads, record.fs_hz, record.comments) == (("II", "V1"), 360.0, ("69 M",))
    assert np.isnan(record.signal_mv[:, 2000:2500]).all()
    assert np.abs(np.delete(record.signal_mv, slice(2000, 2500), axis=1) - signal_mv).max() <= 0.5 / 100 + 1e-9


def test_segments_of_other_leads_stand_where_the_layout_says(tmp_path: Path) -> None:
    signal_mv = np.random.default_rng(0).uniform(-1, 1, (2, 1000))
    write_mitdb_record(tmp_path, "one", signal_mv[:, :400], ("II", "V1"))
    write_mitdb_record(tmp_path, "two", signal_mv[1:, 400:], ("V1",))
    (tmp_path / "layout.hea").write_text("layout 2 360 0\n~ 0 200/mV 12 0 0 0 0 II\n~ 0 200/mV 12 0 0 0 0 V1\n")
    (tmp_path / "all.hea").write_text("all/3 2 360 1000\nlayout 0\none 400\ntwo 600\n")
    ours = read_record(tmp_path / "all", (".hea",))
    theirs = wfdb.rdrecord(str(tmp_path / "all"))
    assert list(ours.leads) == theirs.sig_name
    assert np.isnan(ours.signal_mv[0, 400:]).all()
    np.testing.assert_allclose(ours.signal_mv.T, theirs.p_signal, atol=1e-9)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("all/2 2 250 4000\none 2000\ntwo 2000\n", "segment one has 360 Hz, the record 250"),
        ("all/2 2 360 4100\none 2100\ntwo 2000\n", "segment one holds 2000 samples, the record says 2100"),
        ("all/2 2 360 4100\none 2000\ntwo 2000\n", "its segments hold 4000 samples, all.hea says 4100"),
        ("all/2 2 360 4000\none 2000\nthree 2000\n", "three.hea is missing"),
    ],
)
def test_segments_that_do_not_fit_are_refused(tmp_path: Path, header: str, message: str) -> None:
    _write_segments(tmp_path, np.random.default_rng(0).uniform(-1, 1, (2, 4000)))
    (tmp_path / "all.hea").write_text(header)
    with pytest.raises(RecordError, match=message):
        read_record(tmp_path / "all", (".hea",))
