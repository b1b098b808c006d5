"""Tables: their columns, a beat table worked by hand, and the text reports."""

from __future__ import annotations

import csv
import math
from datetime import UTC, datetime

import numpy as np
import pytest
from sklearn import metrics as sk

from ecgeval import tables
from ecgeval.config import Evaluate
from ecgeval.report import score
from ecgeval.runs import read_run

NOW = datetime(2025, 1, 2, 3, 4, tzinfo=UTC)
CLASSES = ["NORM", "MI", "STTC", "CD", "HYP"]
METRICS = ["Sensitivity", "Specificity", "Precision", "NPV", "F1-Score", "Accuracy", "AUC-ROC", "AUC-PR"]
COLUMNS = {
    "01_macro_comparison": ["Model", *METRICS[:3], *METRICS[4:]],
    "02_per_class_f1_comparison": ["Model", *CLASSES],
    "03_per_class_sensitivity_comparison": ["Model", *CLASSES],
    "04_per_class_auc_roc_comparison": ["Model", *CLASSES],
    "05_best_model_detailed": ["Class", "TP", "FP", "FN", "TN", *METRICS, "Support"],
}


@pytest.fixture
def block(make_run):
    runs = [
        make_run("weak", skill=1.0, header={"model": "resnet18"}),
        make_run("strong", skill=3.0, seed=1),
    ]
    return score([read_run(path) for path in runs], Evaluate(bootstrap=50))[0]


@pytest.fixture
def read_csv(tmp_path):
    def read(table):
        tables.write_csv(table, tmp_path / "table.csv")
        with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    return read


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_come_in_the_published_order_with_intervals_after_them(block, read_csv, name):
    rows = read_csv(next(table for table in tables.block_tables(block) if table.name == name))
    columns = list(rows[0])
    assert columns[: len(COLUMNS[name])] == COLUMNS[name]
    ends = [column for column in columns if column.endswith(("_low", "_high"))]
    assert columns[-len(ends) :] == ends
    for column in (end.removesuffix("_low") for end in ends if end.endswith("_low")):
        assert all(float(row[f"{column}_low"]) <= float(row[column]) <= float(row[f"{column}_high"]) for row in rows)


def test_the_best_run_comes_first(block, read_csv):
    rows = read_csv(tables.macro_comparison(block))
    assert [row["Model"] for row in rows] == ["resnet1d_wang", "resnet18"]
    assert float(rows[0]["F1-Score"]) > float(rows[1]["F1-Score"])


def test_macro_figures_are_those_of_scikit_learn(block, read_csv):
    row = read_csv(tables.macro_comparison(block))[0]
    y, p, predicted = block.best.test.y, block.best.test.p, block.best.predicted
    np.testing.assert_array_equal(predicted, p >= 0.4)
    assert float(row["F1-Score"]) == pytest.approx(sk.f1_score(y, predicted, average="macro"), abs=1e-6)
    assert float(row["AUC-ROC"]) == pytest.approx(sk.roc_auc_score(y, p), abs=1e-6)
    assert float(row["Exact-Match"]) == pytest.approx(sk.accuracy_score(y, predicted), abs=1e-6)


def test_best_model_ends_with_the_macro_row(block, read_csv):
    rows = read_csv(tables.best_model_detailed(block))
    assert [row["Class"] for row in rows] == [*CLASSES, "macro"]
    assert {row["Threshold"] for row in rows[:-1]} == {"0.400"}
    assert sum(int(row["Support"]) for row in rows[:-1]) == block.best.test.y.sum()


def test_an_absent_class_is_nan_in_the_file_and_a_dash_for_people(make_run, made_up, read_csv, tmp_path):
    run = make_run("a")
    y, p = made_up.multi_label(60, np.random.default_rng(0))
    y[:, 1] = False
    made_up.write(run / "predictions" / "test.parquet", made_up.header(run="a"), y, p)
    block = score([read_run(run)], Evaluate(bootstrap=20))[0]
    row = read_csv(tables.per_class_comparison(block, "auroc"))[0]
    assert row["MI"] == "NaN"
    assert float(row["NORM"]) > 0.5
    assert tables.format_cell(block.best.of("auroc", "class", "MI")) == "–"
    macro = block.best.of("auroc")
    others = [block.best.of("auroc", "class", c).value for c in CLASSES if c != "MI"]
    assert macro.value == pytest.approx(np.mean(others))
    assert macro.reason == "MI left out: no row has this class"
    assert "MI left out: no row has this class" in tables.evaluation_summary(block, NOW)


def test_thresholds_stand_beside_one_half(block):
    table = tables.thresholds_beside_half(block)
    y, p = block.best.test.y, block.best.test.p
    half = table.rows[0][table.columns.index("F1-Score at 0.5")]
    assert half.value == pytest.approx(sk.f1_score(y, p >= 0.5, average="macro"))
    assert math.isnan(half.low)


def beat_block(make_run, made_up, records, labels, predicted):
    """A block of one run on beats that predicts exactly `predicted`."""
    header = made_up.beat_header(run="beats")
    run = make_run("beats", header=header)
    one_hot = np.eye(5)
    y = one_hot[["NSVFQ".index(c) for c in labels]]
    p = one_hot[["NSVFQ".index(c) for c in predicted]] * 0.9 + 0.02
    test = run / "predictions" / "test.parquet"
    made_up.write(test, header, y, p, records=records, patients=records)
    return score([read_run(run)], Evaluate(bootstrap=20))[0]


def test_beats_per_record_by_hand(make_run, made_up):
    records = ["mitdb/100"] * 5 + ["mitdb/200"] * 3 + ["mitdb/232"] * 4
    block = beat_block(make_run, made_up, records, "NNSSV" + "NVV" + "SSSN", "NSSNV" + "NVN" + "NNSN")
    table = tables.beats_per_record(block)
    assert table.columns[2:5] == ("S beats", "S Sensitivity", "S PPV")
    rows = {row[0]: row[1:] for row in table.rows}
    nan = float("nan")
    expected = {
        "mitdb/100": (5, 2, 1 / 2, 1 / 2, 1, 1, 1),
        "mitdb/200": (3, 0, nan, nan, 2, 1 / 2, 1),
        "mitdb/232": (4, 3, 1 / 3, 1, 0, nan, nan),
        "gross": (12, 5, 2 / 5, 2 / 3, 3, 2 / 3, 1),
        "gross without mitdb/232": (8, 2, 1 / 2, 1 / 2, 3, 2 / 3, 1),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(rows[name], values, err_msg=name)
    averages = [rows["average"][i] for i in (2, 3, 5, 6)]
    np.testing.assert_allclose(averages, [(1 / 2 + 1 / 3) / 2, (1 / 2 + 1) / 2, 3 / 4, 1])
    assert rows["average without mitdb/232"][2] == 1 / 2


def test_beats_have_a_confusion_matrix_and_q_stands_apart(make_run, made_up):
    block = beat_block(make_run, made_up, [f"mitdb/{i}" for i in range(8)], "NNSVFQQN", "NNSVVQNN")
    table = tables.confusion(block)
    assert [row[0] for row in table.rows] == list("NSVFQ")
    assert table.rows[4] == ("Q", 1, 0, 0, 0, 1)
    f1 = [block.best.of("f1", "class", c).value for c in "NSVF"]
    assert block.best.of("f1").value == pytest.approx(np.mean(f1))
    detail = {row[0]: row[-1] for row in tables.best_model_detailed(block).rows}
    assert (detail["F"], detail["Q"]) == ("yes", "no")


def test_summary_says_what_the_ranking_is_worth(block):
    text = tables.evaluation_summary(block, NOW)
    assert "Date: 2025-01-02 03:04 UTC" in text
    assert "protocol ptbxl-folds (no leak known), labels superclass" in text
    assert "selects nothing" in text
    assert "Validation would choose resnet1d_wang." in text
    assert text.index("1. resnet1d_wang") < text.index("2. resnet18")


def test_leak_and_synthetic_data_are_stamped_on_both_texts(make_run, made_up):
    header = made_up.beat_header(leaks=["patient"], leak_note="Beats are drawn at random.")
    run = make_run("a", header=header | {"store": header["store"] | {"synthetic": True}})
    block = score([read_run(run)], Evaluate(bootstrap=0))[0]
    for text in (tables.evaluation_summary(block, NOW), tables.detailed_report(block, NOW)):
        assert "leaks: patient" in text
        assert "Beats are drawn at random." in text
        assert "SYNTHETIC" in text


def test_details_give_every_average_and_the_figure_at_one_half(block):
    text = tables.detailed_report(block, NOW)
    for part in ("macro (", "micro (", "weighted (", "Class HYP", "prevalence", "at 0.5:", "threshold 0.400"):
        assert part in text
