from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ecgtrain.loader import loaders
from ecgtrain.predictions import read_predictions
from tests.ecgtrain import two_processes
from tests.ecgtrain.two_processes import Plain, run

ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-5  # two halves are added in another order than the whole


def torchrun(*arguments):
    """Run Python in two processes that know of each other."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def alone(beats_store, tmp_path_factory):
    return run(Plain, beats_store, tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def both(beats_store, tmp_path_factory):
    """What each of two processes has seen; one of their trainings was begun by one process."""
    folder = tmp_path_factory.mktemp("both")
    run(Plain, beats_store, folder / "one", stop_at=9)
    torchrun(two_processes.__file__, beats_store.location, str(folder))
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_each_row_is_seen_once_by_one_of_the_processes(both, beats_store):
    rows = [seen["plain"]["rows"] for seen in both]
    assert not set(rows[0]) & set(rows[1])
    assert sorted(rows[0] + rows[1]) == loaders(beats_store).train.rows.tolist()


def test_two_processes_take_the_steps_of_one(both, alone):
    for seen in both:
        assert seen["plain"]["losses"].keys() == alone["losses"].keys()
        np.testing.assert_allclose(
            list(seen["plain"]["losses"].values()), list(alone["losses"].values()), rtol=TOLERANCE
        )
        np.testing.assert_allclose(seen["plain"]["logits"], alone["logits"], rtol=1e-4, atol=1e-4)


def test_two_processes_go_on_with_what_one_began(both, alone):
    losses = both[0]["begun by one"]["losses"]
    assert next(iter(losses)) == "1/8"
    np.testing.assert_allclose(list(losses.values()), [alone["losses"][step] for step in losses], rtol=TOLERANCE)


def test_two_processes_that_were_stopped_go_on_bit_for_bit(both):
    for seen in both:
        assert next(iter(seen["resumed"]["losses"])) == "1/8"
        assert seen["stopped"]["losses"] | seen["resumed"]["losses"] == seen["noisy"]["losses"]
        assert seen["resumed"]["logits"] == seen["noisy"]["logits"]
    assert both[0]["noisy"]["logits"] == both[1]["noisy"]["logits"]


def test_torchrun_leaves_one_run_with_all_predictions(beats_store, tmp_path):
    (tmp_path / "store").symlink_to(Path(beats_store.location).parent)
    options = ["--model", "resnet1d_wang", "--epochs", "1", "--batch-size", "128", "--device", "cpu"]
    result = torchrun("-m", "ecgtrain", "run", "--home", str(tmp_path), *options)
    assert result.stdout.count("next: ecgeval report") == 1
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "state").read_text() == "finished\n"
    table, _ = read_predictions(folder / "predictions" / "test.parquet")
    np.testing.assert_array_equal(table["row"], loaders(beats_store).test.rows)
    assert (folder / "run.log").read_text().count("epoch 1/1") == 1
