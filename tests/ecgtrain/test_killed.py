"""Training that is killed in mid-epoch by a signal that no program hears."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ecgtrain.cli import app
from ecgtrain.predictions import read_predictions

OPTIONS = ["--model", "resnet1d_wang", "--epochs", "2", "--batch-size", "8", "--device", "cpu", "--no-baselines"]
EVERY = ["--set", "checkpoint.every_steps=5"]
LIMIT_S = 120


def start(home: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ecgtrain", "run", "--home", str(home), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def train_here(home: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["run", "--home", str(home), *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def lines(folder: Path, name: str) -> list[dict]:
    text = (folder / name).read_text() if (folder / name).is_file() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def kill_after(process: subprocess.Popen[str], folder: Path, n_steps: int) -> None:
    """Kill a training once so many of its steps are on record."""
    waited_until = time.monotonic() + LIMIT_S
    while len(lines(folder, "steps.jsonl")) < n_steps:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < waited_until
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_very_steps_history_and_predictions(beats_store, tmp_path):
    (tmp_path / "store").symlink_to(Path(beats_store.location).parent)
    train_here(tmp_path, *OPTIONS, *EVERY, "--name", "whole")
    whole, killed = (tmp_path / "runs" / name for name in ("whole", "killed"))
    n_steps = len(lines(whole, "steps.jsonl"))
    kill_after(start(tmp_path, *OPTIONS, *EVERY, "--name", "killed"), killed, n_steps // 2 + 12)
    assert (killed / "state").read_text() == "running\n"
    assert "goes on with epoch 2, step" in train_here(tmp_path, "--resume", "killed")
    assert lines(killed, "steps.jsonl") == lines(whole, "steps.jsonl")
    for ours, theirs in zip(lines(killed, "history.jsonl"), lines(whole, "history.jsonl"), strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}
    for part in ("validation", "test"):
        tables = [read_predictions(folder / "predictions" / f"{part}.parquet")[0] for folder in (killed, whole)]
        assert tables[0].equals(tables[1])
