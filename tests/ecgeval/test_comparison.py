"""Runs against each other: verdicts, refusals, gains of a fusion, and what a leak is worth."""

from __future__ import annotations

import numpy as np
import pytest

from ecgeval.comparison import compare
from ecgeval.config import Evaluate
from ecgeval.errors import ProtocolError
from ecgeval.evaluation import evaluate, evaluate_arrays
from ecgeval.leakage import find_pairs, pair_protocols
from ecgeval.report import score
from ecgeval.runs import read_run
from ecgeval.tables import comparison as tables
from ecgeval.tables.pairs import against_best, leakage, leakage_sentence, modality_gains

CONFIG = Evaluate(bootstrap=200)


def runs(*paths):
    return [read_run(path) for path in paths]


@pytest.mark.parametrize(
    ("skills", "expected"),
    [((1.0, 3.0), "better"), ((3.0, 1.0), "worse"), ((2.0, 2.0), "not distinguishable")],
    ids=["better", "worse", "not distinguishable"],
)
def test_a_plain_verdict(make_run, skills, expected):
    a, b = (make_run(name, skill=skill, seed=i) for i, (name, skill) in enumerate(zip("ab", skills, strict=True)))
    found = compare(*runs(a, b), CONFIG)
    assert found.verdict == expected
    assert f"b is {expected}" in found.sentence


def test_a_run_is_not_distinguishable_from_its_copy(make_run):
    found = compare(*runs(make_run("a"), make_run("b")), CONFIG)
    assert found.verdict == "not distinguishable"
    assert (found.mcnemar.only_a, found.mcnemar.only_b, found.mcnemar.p) == (0, 0, 1)


def test_delong_is_given_only_where_patients_have_one_row(make_run):
    columns = {"patients": [f"ptbxl/{i}" for i in range(300)]}
    alone = compare(*runs(make_run("a", **columns), make_run("b", seed=1, **columns)), CONFIG).table
    shared = compare(*runs(make_run("c"), make_run("d", seed=1)), CONFIG).table
    i = alone.columns.index("DeLong p")
    of_class = next(row for row in alone.rows if row[0] == "AUC-ROC of MI")
    assert 0 <= of_class[i] <= 1
    assert {row[i] for row in shared.rows} == {""}
    assert "DeLong is left out" in shared.note


@pytest.mark.parametrize(
    ("different", "message"),
    [
        ({"n": 299}, "number of test rows .300 and 299.; 1 rows only in a"),
        ({"labels_seed": 5}, "rows, labels or patients of the test split.*labels of 2\\d\\d common rows"),
        ({"header": {"protocol": "other"}}, "protocol .ptbxl-folds and other."),
        ({"header": {"score_classes": ["NORM", "MI"]}}, "scored classes"),
    ],
    ids=["rows missing", "other labels", "protocol", "classes"],
)
def test_runs_that_cannot_be_compared_are_refused_with_what_differs(make_run, different, message):
    with pytest.raises(ProtocolError, match=message):
        compare(*runs(make_run("a"), make_run("b", **different)), CONFIG)


def test_compare_prints_the_verdict_last_and_refuses_with_exit_code_1(make_run, home, ecgeval_here):
    make_run("a", skill=1.0)
    make_run("b", skill=3.0, seed=1)
    make_run("c", header={"protocol": "other"})
    done = ecgeval_here("compare", "a", "b", "--home", home, "--bootstrap", 100)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "better"
    refused = ecgeval_here("compare", "a", "c", "--home", home, "--bootstrap", 0)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    assert "protocol (ptbxl-folds and other)" in refused.stderr
    assert ecgeval_here("compare", "a", "a", "--home", home).returncode == 2


def test_differences_to_the_best_are_corrected_for_their_number(make_run):
    block = score(runs(*(make_run(f"r{i}", seed=i, skill=2.0) for i in range(4))), CONFIG)[0]
    table = against_best(block)
    p, corrected = (np.array([row[table.columns.index(c)] for row in table.rows]) for c in ("p", "p (Holm)"))
    assert len(table.rows) == 3
    assert (corrected >= p).all()
    assert (corrected > p).any()


def test_a_fusion_that_adds_nothing_has_no_significant_gain(make_run):
    block = score(
        runs(
            make_run("signal", skill=2.0, header={"input": "signal"}),
            make_run("picture", skill=1.0, seed=2, header={"input": "gaf"}),
            make_run("fusion", skill=2.0, header={"input": "signal+gaf", "model": "joint_fusion"}),
        ),
        CONFIG,
    )[0]
    rows = {(row[2], row[3]): row for row in modality_gains(block).rows}
    assert set(rows) == {(i, c) for i in ("signal", "gaf") for c in ("macro", *block.header.classes)}
    assert {row[-1] for key, row in rows.items() if key[0] == "signal"} == {"no significant gain"}
    assert rows["gaf", "macro"][-1] == "gain"
    assert rows["gaf", "macro"][4].low > 0


def test_the_parts_of_an_ensemble_are_its_members(make_run):
    block = score(
        runs(
            make_run("one", seed=1),
            make_run("two", seed=2),
            make_run("three", seed=3),
            make_run("both", skill=3.0, seed=4, header={"members": ["one", "two"]}),
        ),
        CONFIG,
    )[0]
    assert {row[1] for row in modality_gains(block).rows} == {"one", "two"}


def intra_and_inter(make_run, made_up, **changes):
    leaking = {"protocol": "intrapatient", "leaks": ["patient", "neighbour"]}
    inter = make_run("inter", skill=2.0, header=made_up.beat_header(run="inter"))
    intra = make_run("intra", skill=6.0, seed=1, header=made_up.beat_header(run="intra") | leaking | changes)
    return [evaluate(run, CONFIG) for run in runs(inter, intra)]


def test_what_a_leak_is_worth_is_named(make_run, made_up):
    inter, intra = intra_and_inter(make_run, made_up)
    leaking, disjoint = pair_protocols(inter, intra)
    assert (leaking.run.name, disjoint.run.name) == ("intra", "inter")
    macro = leakage(leaking, disjoint).rows[0]
    assert macro[2].value - macro[3].value == pytest.approx(macro[4].value)
    assert macro[4].low > 0
    assert "is owed to what leaks (patient, neighbour) and to other test rows" in leakage_sentence(leaking, disjoint)
    assert [[run.run.name for run in pair] for pair in find_pairs([inter, intra])] == [["intra", "inter"]]


def test_a_leak_that_both_protocols_have_is_said_of_both(make_run, made_up):
    _, intra = intra_and_inter(make_run, made_up)
    header = made_up.beat_header(run="nearly") | {"leaks": ["patient"]}
    nearly = evaluate(*runs(make_run("nearly", skill=2.0, header=header)), CONFIG)
    sentence = leakage_sentence(*pair_protocols(nearly, intra))
    assert "owed to what leaks (patient, neighbour), beyond what interpatient leaks itself, and to other" in sentence


def test_a_class_that_one_protocol_alone_scores_is_no_leak(make_run, made_up):
    """Interpatient scores N, S, V, F and intrapatient Q too; predictions that are alike owe nothing to the leak."""
    leaking = {"protocol": "intrapatient", "leaks": ["patient"], "score_classes": list("NSVFQ")}
    folders = [
        make_run(name, header=made_up.beat_header(run=name) | more) for name, more in (("a", {}), ("b", leaking))
    ]
    pair = pair_protocols(*(evaluate(run, CONFIG) for run in runs(*folders)))
    assert pair[0].of("f1", "class", "Q").value != pytest.approx(pair[0].of("f1").value)
    table = leakage(*pair)
    assert [row[4].value for row in table.rows] == pytest.approx([0.0] * len(table.rows))
    assert pair[0].of("f1").value == pytest.approx(np.mean([pair[0].of("f1", "class", c).value for c in "NSVF"]))
    assert pair[0].of("f1").low < pair[0].of("f1").value < pair[0].of("f1").high
    assert "scored under both: N, S, V, F." in table.note


def test_the_leakage_meter_wants_one_model_and_two_protocols(make_run, made_up):
    inter, other = intra_and_inter(make_run, made_up, model="resnet18")
    with pytest.raises(ProtocolError, match="not one model: they differ in model"):
        pair_protocols(inter, other)
    with pytest.raises(ProtocolError, match="one has to leak more"):
        pair_protocols(inter, inter)
    assert find_pairs([inter, other]) == []


def test_two_runs_of_one_model_have_labels_of_their_own_in_any_block(make_run, made_up):
    inter, intra = intra_and_inter(make_run, made_up)
    blocks = score([inter.run, intra.run], CONFIG)
    assert len(blocks) == 2
    assert {label for block in blocks for label in block.labels} == {inter.run.name, intra.run.name}


def test_arrays_alone_are_scored_for_every_table(made_up):
    rng = np.random.default_rng(0)
    y, p = made_up.multi_label(80, rng)
    classes = ("NORM", "MI", "STTC", "CD", "HYP")
    one, two = evaluate_arrays(y, {"one": p, "two": 1 - p}, classes, thresholds=dict.fromkeys(classes, 0.5))
    assert one.of("f1").low < one.of("f1").value < one.of("f1").high
    from ecgeval.block import make_blocks

    table = tables.macro_comparison(make_blocks([[two, one]])[0])
    assert [row[0] for row in table.rows] == ["one", "two"]
