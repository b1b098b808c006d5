"""Tables: their columns, a beat table worked by hand, and the text reports."""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import yaml
from sklearn import metrics as sk

from ecgeval.config import Evaluate
from ecgeval.report import read_best, score
from ecgeval.runs import read_run
from ecgeval.tables import beats, comparison, detail
from ecgeval.tables.of_block import block_tables
from ecgeval.tables.table import Table, escape_latex, format_cell, format_compact, write_csv, write_latex
from ecgeval.tables.texts import detailed_report, evaluation_summary

QUICK = Evaluate(bootstrap=20)
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
        write_csv(table, tmp_path / "table.csv")
        with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    return read


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.1, 0.25, ".10–.25"), (-0.253, 0.004, "-.25–.00"), (-0.004, 1.0, ".00–1.00"), (10.25, 100.0, "10.25–100.00")],
)
def test_bounds_are_short(block, low, high, expected):
    number = replace(block.best.of("f1"), value=0.5, low=low, high=high)
    assert format_compact(number) == f"0.500\n{expected}"


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_come_in_the_published_order_with_intervals_after_them(block, read_csv, name):
    rows = read_csv(next(table for table in block_tables(block, read_best(block, QUICK), QUICK) if table.name == name))
    columns = list(rows[0])
    assert columns[: len(COLUMNS[name])] == COLUMNS[name]
    ends = [column for column in columns if column.endswith(("_low", "_high"))]
    assert columns[-len(ends) :] == ends
    for column in (end.removesuffix("_low") for end in ends if end.endswith("_low")):
        assert all(float(row[f"{column}_low"]) <= float(row[column]) <= float(row[f"{column}_high"]) for row in rows)


def test_the_best_run_comes_first(block, read_csv):
    rows = read_csv(comparison.macro_comparison(block))
    assert [row["Model"] for row in rows] == ["resnet1d_wang", "resnet18"]
    assert float(rows[0]["F1-Score"]) > float(rows[1]["F1-Score"])


def test_macro_figures_are_those_of_scikit_learn(block, read_csv):
    row = read_csv(comparison.macro_comparison(block))[0]
    best = read_best(block, QUICK)
    y, p, predicted = best.rows.y, best.rows.p, best.predicted
    np.testing.assert_array_equal(predicted, p >= 0.4)
    assert float(row["F1-Score"]) == pytest.approx(sk.f1_score(y, predicted, average="macro"), abs=1e-6)
    assert float(row["AUC-ROC"]) == pytest.approx(sk.roc_auc_score(y, p), abs=1e-6)
    assert float(row["Exact-Match"]) == pytest.approx(sk.accuracy_score(y, predicted), abs=1e-6)


def test_best_model_ends_with_the_macro_row(block, read_csv):
    rows = read_csv(detail.best_model_detailed(block))
    assert [row["Class"] for row in rows] == [*CLASSES, "macro"]
    assert {row["Threshold"] for row in rows[:-1]} == {"0.400"}
    assert sum(int(row["Support"]) for row in rows[:-1]) == read_best(block, QUICK).rows.y.sum()


def test_an_absent_class_is_nan_in_the_file_and_a_dash_for_people(make_run, made_up, read_csv, tmp_path):
    run = make_run("a")
    y, p = made_up.multi_label(60, np.random.default_rng(0))
    y[:, 1] = False
    made_up.write(run / "predictions" / "test.parquet", made_up.header(run="a"), y, p)
    block = score([read_run(run)], Evaluate(bootstrap=20))[0]
    row = read_csv(comparison.per_class_comparison(block, "auroc"))[0]
    assert row["MI"] == "NaN"
    assert float(row["NORM"]) > 0.5
    assert format_cell(block.best.of("auroc", "class", "MI")) == "–"
    macro = block.best.of("auroc")
    others = [block.best.of("auroc", "class", c).value for c in CLASSES if c != "MI"]
    assert macro.value == pytest.approx(np.mean(others))
    assert macro.reason == "MI left out: no row has this class"
    assert "MI left out: no row has this class" in evaluation_summary(block, NOW)


def test_thresholds_stand_beside_one_half(block):
    table = comparison.thresholds_beside_half(block)
    rows = read_best(block, QUICK).rows
    y, p = rows.y, rows.p
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
    table = beats.beats_per_record(read_best(block, QUICK))
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
    table = detail.confusion(read_best(block, QUICK))
    assert [row[0] for row in table.rows] == list("NSVFQ")
    assert table.rows[4] == ("Q", 1, 0, 0, 0, 1)
    f1 = [block.best.of("f1", "class", c).value for c in "NSVF"]
    assert block.best.of("f1").value == pytest.approx(np.mean(f1))
    scored = {row[0]: row[-1] for row in detail.best_model_detailed(block).rows}
    assert (scored["F"], scored["Q"]) == ("yes", "no")


def test_summary_says_what_the_ranking_is_worth(block):
    text = evaluation_summary(block, NOW)
    assert "Date: 2025-01-02 03:04 UTC" in text
    assert "protocol ptbxl-folds (no leak known), labels superclass" in text
    assert "selects nothing" in text
    assert "Validation would choose resnet1d_wang." in text
    assert text.index("1. resnet1d_wang") < text.index("2. resnet18")


def test_leak_and_synthetic_data_are_stamped_on_both_texts(make_run, made_up):
    header = made_up.beat_header(leaks=["patient"], leak_note="Beats are drawn at random.")
    run = make_run("a", header=header | {"store": header["store"] | {"synthetic": True}})
    block = score([read_run(run)], Evaluate(bootstrap=0))[0]
    for text in (evaluation_summary(block, NOW), detailed_report(block, NOW)):
        assert "leaks: patient" in text
        assert "Beats are drawn at random." in text
        assert "SYNTHETIC" in text


def test_details_give_every_average_and_the_figure_at_one_half(block):
    text = detailed_report(block, NOW)
    for part in ("macro (", "micro (", "weighted (", "Class HYP", "prevalence", "at 0.5:", "threshold 0.400"):
        assert part in text


def rows_of(table):
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def test_micro_and_weighted_averages_have_a_file_of_their_own(block):
    table = comparison.other_averages(block)
    best = read_best(block, QUICK)
    cells = {row[1]: row[table.columns.index("F1-Score")].value for row in table.rows[:2]}
    expected = {a: sk.f1_score(best.rows.y, best.predicted, average=a) for a in ("micro", "weighted")}
    assert cells == pytest.approx(expected)


def test_subgroups_are_scored_on_their_own_rows(make_run):
    sex = ["female", "male", None] * 100
    age = [30.0, 85.0, float("nan")] * 100
    run = make_run("a", sex=sex, age=np.array(age, np.float32))
    block = score([read_run(run)], QUICK)[0]
    best = read_best(block, QUICK)
    table = detail.subgroups(best)
    assert [row[:3] for row in table.rows] == [
        ("sex", "female", 100), ("sex", "male", 100), ("age", "under 40", 100), ("age", "80 and over", 100)
    ]  # fmt: skip
    female = np.arange(300) % 3 == 0
    expected = sk.f1_score(best.rows.y[female], best.predicted[female], average="macro")
    number = table.rows[0][table.columns.index("F1-Score")]
    assert number.value == pytest.approx(expected)
    assert number.low < expected < number.high
    assert number.source.n_rows == 100


def test_subgroups_by_quality_of_the_recording(make_run):
    run = make_run("a", quality=np.array([0.5, 0.95, float("nan")] * 100))
    table = detail.subgroups(read_best(score([read_run(run)], QUICK)[0], QUICK))
    assert [row[:3] for row in table.rows] == [("quality", "under 0.7", 100), ("quality", "0.9 and over", 100)]


def test_a_group_of_one_level_is_no_subgroup(block):
    assert detail.subgroups(read_best(block, QUICK)).rows == ()


def test_worst_records_come_first(make_run, made_up):
    records = [f"r{i}" for i in range(4) for _ in range(3)]
    block = beat_block(make_run, made_up, records, "NNNNNNNNNNNN", "NNNVVVNNVNVV")
    table = detail.worst_records(read_best(block, QUICK))
    assert [(row[0], row[2], row[3]) for row in table.rows] == [("r1", 3, 3), ("r3", 3, 2), ("r2", 3, 1)]


def test_windows_are_shown_by_mean_and_by_maximum(make_run, made_up):
    run = make_run("a")
    y, p = made_up.multi_label(60, np.random.default_rng(0))
    row, window = np.repeat(np.arange(30), 2), np.tile([1, 2], 30).astype(np.int16)
    records = [f"ptbxl/{i:05d}" for i in row]
    made_up.write(run / "predictions" / "test.parquet", made_up.header(run="a"), np.repeat(y[:30], 2, axis=0), p,
                  row=row, window=window, records=records, patients=records)  # fmt: skip
    block = score([read_run(run)], QUICK)[0]
    table = comparison.windows_compared(block)
    by_hand = {"mean": p.reshape(30, 2, 5).mean(axis=1), "max": p.reshape(30, 2, 5).max(axis=1)}
    for (_, n_windows, how, auroc, _), (name, combined) in zip(table.rows, by_hand.items(), strict=True):
        assert (n_windows, how) == (2, name)
        assert auroc == pytest.approx(sk.roc_auc_score(y[:30], combined.astype(np.float32)), abs=1e-6)


def test_folds_have_a_spread_and_pooled_figures(make_run):
    block = score([read_run(make_run("a", fold=np.repeat([0, 1, 2], 100).astype(np.int16)))], QUICK)[0]
    table = comparison.folds(block)
    assert [row[1] for row in table.rows] == ["fold 0", "fold 1", "fold 2", "mean ± SD of folds", "pooled"]
    f1 = [row[2] for row in table.rows]
    assert f1[3] == f"{np.mean(f1[:3]):.3f} ± {np.std(f1[:3], ddof=1):.3f} (n = 3)"
    assert f1[4].value == block.best.of("f1").value


def test_each_fold_is_cut_at_its_own_thresholds(make_run):
    run = make_run("a", fold=np.repeat([0, 1], 150).astype(np.int16))
    for fold, threshold in enumerate((0.3, 0.6)):
        (run / f"fold-{fold}").mkdir()
        fitted = {"fitted_on": "validation", "thresholds": dict.fromkeys(CLASSES, threshold), "temperature": None}
        (run / f"fold-{fold}" / "calibration.json").write_text(json.dumps(fitted))
    block = score([read_run(run)], QUICK)[0]
    best = read_best(block, QUICK)
    np.testing.assert_array_equal(best.predicted[:150], best.rows.p[:150] >= 0.3)
    np.testing.assert_array_equal(best.predicted[150:], best.rows.p[150:] >= 0.6)
    assert detail.best_model_detailed(block).rows[0][-2] == "0.450 (folds 0.300–0.600)"


def test_seeds_are_a_mean_and_a_spread_beside_the_interval(make_run):
    runs = [make_run(f"s{i}", seed=i, header={"seed": i}) for i in range(3)]
    make_other = make_run("other", seed=9, header={"model": "resnet18", "seed": 0})
    block = score([read_run(run) for run in [*runs, make_other]], QUICK)[0]
    table = comparison.seeds(block)
    assert len(table.rows) == 1
    f1 = [run.of("f1").value for run in block.evaluations if run.header.model == "resnet1d_wang"]
    row = rows_of(table)["resnet1d_wang"]
    assert row["F1-Score"] == f"{np.mean(f1):.3f} ± {np.std(f1, ddof=1):.3f} (n = 3)"
    assert row["F1-Score of the best run"].value == max(f1)


def test_seeds_name_what_fine_tuned_runs_started_from(make_run):
    starts = {"init_from": None, "pre-10": 0.1}
    runs = []
    for seed, (start, fraction) in itertools.product(range(2), starts.items()):
        header = {"seed": seed, "pretraining": {"fraction": fraction or 0.0}}
        folder = make_run(f"{start}-{seed}", seed=seed, header=header)
        config = yaml.safe_load((folder / "config.yaml").read_text())
        (folder / "config.yaml").write_text(yaml.safe_dump({**config, "init_from": start if fraction else None}))
        runs.append(folder)
    table = comparison.seeds(score([read_run(run) for run in runs], QUICK)[0])
    assert {row[0] for row in table.rows} == {"resnet1d_wang, random weights", "resnet1d_wang, pre-trained on 10 %"}


def test_the_challenge_score_leaves_the_noisy_class_out(make_run, made_up):
    classes = ["N", "A", "O", "~"]
    header = made_up.header(run="a", task="single", classes=classes, score_classes=classes, scheme="rhythm4")
    run = make_run("a")
    y = np.eye(4)[[0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 0, 1]]
    said = np.eye(4)[[0, 0, 1, 1, 2, 2, 2, 3, 0, 3, 0, 1]]
    made_up.write(run / "predictions" / "test.parquet", header, y, said * 0.8 + 0.05)
    (run / "predictions" / "validation.parquet").unlink()
    (run / "calibration.json").unlink()
    row = comparison.cinc2017(score([read_run(run)], QUICK)[0]).rows[0]
    # N 2·3/(4+4), A 2·2/(3+3), O 2·2/(2+3), ~ 2·2/(3+2)
    f1 = (6 / 8, 4 / 6, 4 / 5, 4 / 5)
    assert row[1] == pytest.approx(np.mean(f1[:3]))
    assert row[2] == pytest.approx(np.mean(f1))
    assert [number.value for number in row[3:]] == pytest.approx(f1)


def test_ptbxl_is_scored_as_its_benchmark_does(block):
    best = read_best(block, QUICK)
    row = rows_of(comparison.ptbxl(block))["resnet1d_wang"]
    assert row["Macro AUROC"].value == pytest.approx(sk.roc_auc_score(best.rows.y, best.rows.p, average="macro"))
    assert row["Macro AUROC"].low < row["Macro AUROC"].value < row["Macro AUROC"].high
    assert "percentiles 5 and 95" in row["Macro AUROC"].interval
    assert 0.5 < row["Fmax"].value < 1


def test_f1_against_the_fraction_of_pretraining(make_run):
    runs = [
        make_run(f"f{i}", seed=i, header={"pretraining": {"fraction": fraction}})
        for i, fraction in enumerate((0.1, 0.0, 1.0))
    ]
    table = comparison.pretraining_fractions(score([read_run(run) for run in runs], QUICK)[0])
    assert [row[1] for row in table.rows] == [0.0, 0.1, 1.0]
    assert table.columns[-1] == "Epochs"


def test_a_curve_is_of_one_training_and_one_objective(make_run):
    def run(name, fraction, objective="frame_beat", **settings):
        pretraining = {"fraction": fraction, "objective": objective if fraction else ""}
        folder = make_run(name, header={"pretraining": pretraining})
        config = yaml.safe_load((folder / "config.yaml").read_text())
        start = {"init_from": "pre"} if fraction else {}
        (folder / "config.yaml").write_text(yaml.safe_dump({**config, **start, **settings}))
        return folder

    runs = [
        run("random", 0.0),
        run("beat", 0.1),
        run("rhythm", 0.1, "frame_rhythm"),
        run("slow", 0.1, optimizer={"lr": 1e-5}),
        run("random slow", 0.0, optimizer={"lr": 1e-5}),
        run("random other", 0.0, optimizer={"lr": 1.0}),
    ]
    curves = comparison.pretraining_curves(score([read_run(run) for run in runs], QUICK)[0])
    found = {name.partition(", ")[2]: {run.run.name for run in curve} for name, curve in curves.items()}
    assert found == {
        "resnet1d_wang, frame_beat, beat": {"random", "beat"},
        "resnet1d_wang, frame_rhythm": {"random", "rhythm"},
        "resnet1d_wang, frame_beat, slow": {"random slow", "slow"},
    }


def test_runs_from_random_weights_alone_make_no_curve(make_run):
    runs = [make_run(f"f{i}", seed=i, header={"pretraining": {"fraction": 0.0}}) for i in range(2)]
    assert comparison.pretraining_fractions(score([read_run(run) for run in runs], QUICK)[0]).rows == ()


def test_latex_is_a_booktabs_table_with_its_special_characters_escaped(tmp_path):
    table = Table("t", "A & B, 95 %", ("Model", "F1_macro"), (("a_b", 0.5), ("ü–", float("nan"))))
    write_latex(table, tmp_path / "t.tex", "protocol x_y")
    text = (tmp_path / "t.tex").read_text(encoding="utf-8")
    for line in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{lr}", r"a\_b & 0.500 \\", r"ü-- & -- \\"):
        assert line in text
    assert r"A \& B, 95 \%. protocol x\_y." in text


def test_latex_sets_intervals_below_their_numbers(tmp_path, block):
    write_latex(comparison.macro_comparison(block), tmp_path / "t.tex", "test")
    lines = (tmp_path / "t.tex").read_text(encoding="utf-8").splitlines()
    figures = next(i for i, line in enumerate(lines) if line.startswith(r"resnet1d\_wang &"))
    assert lines[figures].count("&") == lines[figures + 1].count("&") == lines[figures - 2].count("&")
    assert re.match(r" & \{\\scriptsize \.\d\d--\.\d\d\} & ", lines[figures + 1])


def test_latex_of_every_table_needs_no_character_beyond_ascii(tmp_path, block):
    for table in block_tables(block, read_best(block, QUICK), QUICK):
        write_latex(table, tmp_path / "t.tex", "ages 18 … 75, ≥ 75, 2 × 2 µV")
        assert (tmp_path / "t.tex").read_text(encoding="utf-8").isascii(), table.name


def test_every_latex_command_character_is_escaped():
    assert escape_latex(r"\{}") == r"\textbackslash{}\{\}"
