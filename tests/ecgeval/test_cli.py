"""The command as a person meets it: output, errors and exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ecgeval.config import Evaluate

COMMAND = [sys.executable, "-c", "from ecgeval.cli import main; main()"]


def ecgeval(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_report_prints_tables_and_ends_with_the_page(make_run, home):
    make_run()
    done = ecgeval("report", "--home", home, "--bootstrap", 20, "--no-figures")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(home / "reports" / "ptbxl-0a1b2c3d" / "report.html")
    for part in ("Macro comparison", "F1-Score of each class", "AUC-ROC of each class", "no leak known"):
        assert part in done.stdout
    assert "…" not in done.stdout


def test_options_and_recipe_reach_the_report(make_run, home, tmp_path, ecgeval_here):
    make_run()
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("evaluate: {threshold: 0.5, bootstrap: 7, seed: 3}\n")
    out = tmp_path / "out"
    options = ("--recipe", recipe, "--set", "seed=4", "--bootstrap", 0, "--no-figures", "--out", out)
    done = ecgeval_here("report", "--home", home, *options)
    assert done.returncode == 0, done.stderr
    text = (out / "report.json").read_text()
    assert '"threshold": "0.5"' in text
    assert '"seed": 4' in text
    assert '"bootstrap": 0' in text
    assert not list((out / "visualizations").glob("*"))
    assert "threshold 0.5" in (out / "DETAILED_METRICS_REPORT.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "run `ecgtrain run` first"),
        (["nothing"], "unknown run 'nothing'"),
        (["--threshold", "best"], "threshold"),
        (["--window", "median"], "window"),
        (["--bootstrap", "-1"], "bootstrap"),
        (["--set", "bootstrp=5"], "Did you mean 'bootstrap'?"),
        (["--recipe", "no-such"], "unknown recipe 'no-such'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(home, ecgeval_here, arguments, message):
    done = ecgeval_here("report", *arguments, "--home", home)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (home / "reports").exists()


def test_a_damaged_run_is_named_with_exit_code_2(make_run, home, ecgeval_here):
    file = make_run("a") / "predictions" / "test.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    done = ecgeval_here("report", "--home", home)
    assert done.returncode == 2
    assert str(file) in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_needs_none_of_the_heavy_libraries():
    heavy = ["matplotlib", "numpy", "pyarrow", "sklearn"]
    code = f"import sys, ecgeval.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    shown = ecgeval("report", "--help")
    assert shown.returncode == 0
    assert "--bootstrap" in shown.stdout


def test_every_key_is_described_and_survives_a_round_trip():
    assert all(field.description for field in Evaluate.model_fields.values())
    config = Evaluate(bootstrap=5, threshold="0.5", out="somewhere")
    assert Evaluate.model_validate(config.model_dump(mode="json")) == config
