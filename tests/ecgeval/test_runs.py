"""Which runs are found, what their files say, and which stand in one block."""

from __future__ import annotations

import json
import os

import pytest

from ecgeval.comparable import group_comparable
from ecgeval.config import Evaluate
from ecgeval.errors import RequestError, RunFileError, RunNotFoundError
from ecgeval.evaluation import evaluate
from ecgeval.runs import Calibration, find_runs, read_run, short_labels
from pipelines.workspace import Workspace


def names(paths):
    return [path.name for path in paths]


def make_store(home, name, moment):
    manifest = home / "store" / f"{name}.zarr" / "MANIFEST.sha256"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("")
    os.utime(manifest, (moment, moment))


def test_without_names_the_newest_store_with_runs_is_reported(make_run, made_up, home):
    for moment, store in enumerate(("old", "newer", "newest-without-runs"), start=1):
        make_store(home, store, moment)
    identity = made_up.header()["store"]
    make_run("a", header={"store": identity | {"name": "newer"}})
    make_run("b", header={"store": identity | {"name": "newer.zarr"}})
    make_run("c", header={"store": identity | {"name": "old"}})
    make_run("d", state="running", header={"store": identity | {"name": "newer"}})
    assert names(find_runs(Workspace(home))) == ["a", "b"]


def test_runs_outlive_their_store(make_run, made_up, home):
    make_run("a", header={"store": made_up.header()["store"] | {"name": "deleted"}})
    assert names(find_runs(Workspace(home))) == ["a"]


def test_runs_are_found_by_name_and_by_folder(make_run, home):
    folder = make_run("a")
    make_run("b")
    assert names(find_runs(Workspace(home), ["b", str(folder), "a"])) == ["b", "a"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("resnet1d_wong", "unknown run 'resnet1d_wong'.*Did you mean 'resnet1d_wang'"),
        ("zzz", "Known: resnet1d_wang, stopped"),
        ("stopped", "run 'stopped' is failed; finish it with `ecgtrain run --resume stopped`"),
    ],
)
def test_a_run_that_is_not_there_is_an_error_with_a_hint(make_run, home, wanted, message):
    make_run("resnet1d_wang")
    make_run("stopped", state="failed")
    with pytest.raises(RunNotFoundError, match=message) as raised:
        find_runs(Workspace(home), [wanted])
    assert raised.value.exit_code == 2


def test_two_runs_of_one_name_are_refused(make_run, home, tmp_path):
    make_run("a").rename(tmp_path / "a")
    make_run("a")
    with pytest.raises(RequestError, match="two runs are called 'a'"):
        find_runs(Workspace(home), ["a", str(tmp_path / "a")])


def test_no_run_says_what_to_run(home):
    with pytest.raises(RunNotFoundError, match="run `ecgtrain run` first"):
        find_runs(Workspace(home))


def test_thresholds_fitted_on_test_are_refused(make_run):
    run = make_run("a")
    thresholds = dict.fromkeys(("NORM", "MI", "STTC", "CD", "HYP"), 0.3)
    (run / "calibration.json").write_text(json.dumps({"thresholds": thresholds, "fitted_on": "test"}))
    with pytest.raises(RunFileError, match="fitted on 'test'"):
        read_run(run)


def test_thresholds_of_other_classes_are_refused(make_run):
    run = make_run("a", thresholds={"NORM": 0.5, "AFIB": 0.5})
    with pytest.raises(RunFileError, match="differ in AFIB, CD, HYP, MI, STTC"):
        read_run(run)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("history.jsonl", '{"epoch": 0}\n{"epo', "history.jsonl, line 2: damaged"),
        ("history.jsonl", '{"epoch": "x"}', "history.jsonl, line 1: epoch is 'x'; it has to be a whole number"),
        ("history.jsonl", "\xe4", "history.jsonl: damaged .it is not UTF-8"),
        ("calibration.json", "[]", "calibration.json: damaged"),
        (
            "calibration.json",
            '{"thresholds": [0.5], "fitted_on": "validation"}',
            "thresholds are not a number by class",
        ),
        ("config.yaml", "a: [", "config.yaml: damaged"),
    ],
)
def test_a_damaged_file_is_named(make_run, file, text, message):
    run = make_run("a")
    (run / file).write_text(text, encoding="latin-1")
    with pytest.raises(RunFileError, match=message):
        read_run(run)


def test_a_folder_that_is_no_fold_is_passed_over(make_run):
    run = make_run("a")
    (run / "fold-old").mkdir()
    (run / "fold-old" / "calibration.json").write_text("{}")
    assert list(read_run(run).calibrations) == [-1]


def test_a_run_of_predictions_alone_is_read(make_run):
    run = make_run("a")
    for file in ("history.jsonl", "calibration.json", "environment.json", "config.yaml"):
        (run / file).unlink()
    (run / "predictions" / "validation.parquet").unlink()
    read = read_run(run)
    assert (read.history, read.calibrations) == ([], {})
    assert read.calibration(3) == Calibration()
    assert not read.validation_file.exists()


def block_names(runs):
    scored = [evaluate(read_run(path), Evaluate(bootstrap=0)) for path in runs]
    return [[one.run.name for one in group] for group in group_comparable(scored)]


def test_runs_of_equal_rows_and_labels_stand_together(make_run):
    assert block_names([make_run("a"), make_run("b", seed=1)]) == [["a", "b"]]


@pytest.mark.parametrize(
    "different",
    [
        {"header": {"protocol": "patient-70-15-15"}},
        {"header": {"leaks": ["patient"]}},
        {"header": {"scheme": "subclass"}},
        {"header": {"score_classes": ["NORM", "MI"]}},
        {"header": {"store": {"name": "s", "digest": "d", "rows_digest": "other"}}},
        {"labels_seed": 5},
        {"patients": ["ptbxl/1"] * 300},
        {"n": 299},
    ],
    ids=["protocol", "leaks", "scheme", "scored classes", "store's rows", "labels", "patients", "rows"],
)
def test_different_runs_stand_in_blocks_of_their_own(make_run, different):
    runs = [make_run("a"), make_run("b", **different), make_run("c")]
    assert block_names(runs) == [["a", "c"], ["b"]]


def test_the_block_of_the_run_that_finished_last_comes_first(make_run):
    runs = [make_run("a"), make_run("b", header={"protocol": "other"})]
    assert block_names(runs) == [["b"], ["a"]]


def test_labels_are_models_or_else_runs(make_run):
    wang, resnet = make_run("resnet1d_wang-ptbxl-folds-1"), make_run("image", header={"model": "resnet18"})
    again = make_run("resnet1d_wang-ptbxl-folds-2")
    runs = [read_run(path) for path in (wang, resnet, again)]
    assert short_labels(runs[:2]) == ["resnet1d_wang", "resnet18"]
    assert short_labels(runs) == ["resnet1d_wang-1", "image", "resnet1d_wang-2"]
