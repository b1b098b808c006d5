"""The predictions file: the golden one, windows of a row, and files that are refused."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecgeval.errors import RunFileError, RunNotFoundError
from ecgeval.header import read_header
from ecgeval.predictions import read_predictions
from ecgeval.windows import combine_windows

GOLDEN = Path(__file__).parents[1] / "golden"


def test_golden_file_is_what_its_script_writes():
    spec = importlib.util.spec_from_file_location("make_predictions", GOLDEN / "make_predictions.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert pq.read_table(GOLDEN / "predictions_multi.parquet").equals(script.golden_table(), check_metadata=True)


def test_golden_file_is_read():
    golden = read_predictions(GOLDEN / "predictions_multi.parquet")
    assert golden.header.classes == ("NORM", "MI")
    assert golden.header.store.rows_digest == "r1"
    assert [golden.patients[i] for i in golden.patient] == [f"ptbxl/{i}" for i in (11, 11, 12, 13, 13)]
    np.testing.assert_array_equal(golden.y[:, 1], [0, 1, 1, 0, 0])


@pytest.mark.parametrize(("how", "expected"), [("mean", (0.5, 0.4375)), ("max", (0.75, 0.625))])
def test_windows_of_a_row_become_one_prediction(how, expected):
    combined = combine_windows(read_predictions(GOLDEN / "predictions_multi.parquet"), how)
    assert combined.row.tolist() == [3, 5, 8, 9]
    assert tuple(combined.p[-1]) == expected
    assert combined.p[0].tolist() == [0.875, 0.125]


def test_order_of_rows_in_the_file_does_not_matter(tmp_path, made_up):
    y, p = made_up.multi_label(20, np.random.default_rng(0))
    plain = read_predictions(made_up.write(tmp_path / "a.parquet", made_up.header(), y, p))
    order = np.random.default_rng(1).permutation(20)
    columns = {
        "row": order,
        "records": [f"ptbxl/{i:05d}" for i in order],
        "patients": [f"ptbxl/{i // 2}" for i in order],
    }
    shuffled = read_predictions(made_up.write(tmp_path / "b.parquet", made_up.header(), y[order], p[order], **columns))
    np.testing.assert_array_equal(plain.p, shuffled.p)
    assert plain.digest() == shuffled.digest()


def test_unknown_patients_are_taken_for_their_records(tmp_path, made_up):
    y, p = made_up.multi_label(4, np.random.default_rng(0))
    patients = ["ptbxl/1", None, "ptbxl/1", None]
    read = read_predictions(made_up.write(tmp_path / "a.parquet", made_up.header(), y, p, patients=patients))
    assert set(read.patients) == {"ptbxl/1", "ptbxl/00001", "ptbxl/00003"}


def nan_probability(y, p):
    p[3, 1] = np.nan
    return {}


def above_one(y, p):
    p[0, 0] = 1.5
    return {}


def repeated_row(y, p):
    return {"row": np.array([0, 1, 1, *range(3, 20)])}


def null_row(y, p):
    return {"row": pa.array([None, *range(1, 20)], pa.int64())}


def changing_label(y, p):
    y[1] = ~y[0]
    return {"row": np.array([0, 0, *range(2, 20)]), "window": np.array([1, 2, *[0] * 18], np.int16)}


def two_patients(y, p):
    y[1] = y[0]
    return {"row": np.array([0, 0, *range(2, 20)]), "window": np.array([1, 2, *[0] * 18], np.int16)}


def text_as_row(y, p):
    return {"row": [str(i) for i in range(20)]}


def large_window(y, p):
    return {"window": np.array([40_000, *[0] * 19])}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (nan_probability, "1 rows have probabilities that are NaN or outside 0–1, the first is row 3, p_MI nan"),
        (above_one, "outside 0–1"),
        (repeated_row, "1 rows are there twice, the first is row 1"),
        (null_row, "row is empty in 1 rows"),
        (changing_label, "windows of one row have different labels"),
        (two_patients, "windows of one row are of different records or patients"),
        (text_as_row, "row holds string, not numbers"),
        (large_window, "window goes from 0 to 40000, beyond int16"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path, made_up, spoil, message):
    y, p = made_up.multi_label(20, np.random.default_rng(0))
    columns = spoil(y, p)
    path = made_up.write(tmp_path / "run" / "predictions" / "test.parquet", made_up.header(), y, p, **columns)
    with pytest.raises(RunFileError, match=message) as raised:
        read_predictions(path)
    assert str(path) in str(raised.value)


def test_numbers_are_taken_as_names_of_records(tmp_path, made_up):
    y, p = made_up.multi_label(4, np.random.default_rng(0))
    columns = {"record": np.arange(4), "patient": np.arange(4) // 2}
    read = read_predictions(made_up.write(tmp_path / "a.parquet", made_up.header(), y, p, **columns))
    assert read.records == ("0", "1", "2", "3")
    assert read.patients == ("0", "1")


@pytest.mark.parametrize("classes", [["NORM", ""], ["NORM", "a\tb"], ["NORM", "NORM"]])
def test_classes_that_cannot_be_told_apart_or_printed_are_refused(tmp_path, made_up, classes):
    y, p = made_up.multi_label(4, np.random.default_rng(0))
    header = made_up.header(classes=classes, score_classes=["NORM"])
    with pytest.raises(RunFileError, match="a class is"):
        read_header(made_up.write(tmp_path / "a.parquet", header, y, p))


def test_a_store_is_no_path(tmp_path, made_up):
    y, p = made_up.multi_label(4, np.random.default_rng(0))
    header = made_up.header(store=made_up.header()["store"] | {"name": "../../elsewhere"})
    with pytest.raises(RunFileError, match=r"store.name: '../../elsewhere' is no name of a store"):
        read_header(made_up.write(tmp_path / "a.parquet", header, y, p))


def test_a_single_label_file_with_two_labels_is_refused(tmp_path, made_up):
    y, p = made_up.single_label(20, np.random.default_rng(0))
    y[5] = True
    with pytest.raises(RunFileError, match="exactly one label"):
        read_predictions(made_up.write(tmp_path / "a.parquet", made_up.beat_header(), y, p))


def test_single_label_probabilities_must_sum_to_one(tmp_path, made_up):
    y, p = made_up.single_label(20, np.random.default_rng(0))
    with pytest.raises(RunFileError, match="do not sum to 1"):
        read_predictions(made_up.write(tmp_path / "a.parquet", made_up.beat_header(), y, p / 2))


def test_a_damaged_file_is_named(tmp_path, made_up):
    y, p = made_up.multi_label(20, np.random.default_rng(0))
    path = made_up.write(tmp_path / "a.parquet", made_up.header(), y, p)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RunFileError, match=r"a\.parquet: not a readable Parquet file"):
        read_predictions(path)


def test_a_flipped_byte_is_found(tmp_path, made_up):
    y, p = made_up.multi_label(2000, np.random.default_rng(0))
    path = made_up.write(tmp_path / "a.parquet", made_up.header(), y, p)
    column = pq.read_metadata(path).row_group(0)
    chunk = next(c for c in map(column.column, range(column.num_columns)) if c.path_in_schema == "p_MI")
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunFileError, match=r"a\.parquet: damaged"):
        read_predictions(path)


def test_a_file_without_footer_is_named(tmp_path, made_up):
    y, p = made_up.multi_label(20, np.random.default_rng(0))
    path = made_up.write(tmp_path / "a.parquet", made_up.header(), y, p, footer=False)
    with pytest.raises(RunFileError, match=r"a\.parquet: its footer has no key 'ecg'"):
        read_header(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunNotFoundError, match=r"test\.parquet: no such file"):
        read_header(tmp_path / "run" / "predictions" / "test.parquet")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema 2, but this ecgeval reads schema 1"),
        ({"score_classes": ["NORM", "MIX"]}, "MIX, which is not among the classes"),
        ({"classes": ["NORM", "NORM", "MI", "CD", "HYP"]}, "listed twice"),
        ({"task": "regression"}, "task"),
        (
            {"classes": ["NORM", "MI", "STTC", "CD", "AFIB"], "score_classes": ["NORM"]},
            "no column 'y_AFIB', 'p_AFIB'",
        ),
    ],
    ids=["schema", "scored class", "class twice", "task", "column"],
)
def test_a_footer_that_breaks_the_contract_is_refused(tmp_path, made_up, changes, message):
    y, p = made_up.multi_label(5, np.random.default_rng(0))
    path = made_up.write(tmp_path / "a.parquet", made_up.header(), y, p)
    footer = {"ecg": json.dumps(made_up.header(**changes))}
    pq.write_table(pq.read_table(path).replace_schema_metadata(footer), path)
    with pytest.raises(RunFileError, match=message):
        read_predictions(path)
