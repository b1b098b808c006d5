"""Killed at any moment and run again, a build ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from store.write import read_manifest
from tests.recordings import write_mitdb

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="kills by POSIX signals"),
    pytest.mark.slow,
    pytest.mark.timeout(300),
]

SCRIPT = Path(__file__).with_name("build_that_dies.py")
ECGPREP = [sys.executable, "-c", "from ecgprep.cli import main; main()"]
REPS = "gaf:size=16,mtf:size=16"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    write_mitdb(folder, ("100", "102", "208"), seconds=20)
    return folder


def kill(
    source: Path, home: Path, keys: Mapping[str, str], share: int, start: Path | None = None, replace: bool = False
) -> dict[str, list[str]]:
    """Return what `build_that_dies.py` found: how many moments it tried, and the distinct manifests."""
    arguments = [source, home, start or "", json.dumps(keys), share, "replace" if replace else ""]
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def build(source: Path, home: Path, *options: str) -> Path:
    """Build by the command line; return the store."""
    command = [*ECGPREP, "build", "--dataset", "mitdb", "--from", str(source), "--home", str(home), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def manifest(source: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The manifest of an uninterrupted build with the script's tasks."""
    (manifest,) = kill(source, tmp_path_factory.mktemp("whole"), {"reps": REPS}, share=0)["manifests"]
    return manifest


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of an uninterrupted build by the command line."""
    return read_manifest(build(source, tmp_path_factory.mktemp("whole"), "--workers", "0", "--reps", REPS)).digest


def test_killed_at_every_kind_of_moment(source: Path, tmp_path: Path, manifest: str) -> None:
    found = kill(source, tmp_path / "killed", {"reps": REPS}, share=4)
    assert found["tried"] > 15
    assert found["manifests"] == [manifest]


def test_killed_while_pictures_are_added(source: Path, tmp_path: Path, manifest: str) -> None:
    kill(source, tmp_path / "start", {"reps": "gaf:size=16"}, share=0)
    found = kill(source, tmp_path / "killed", {"reps": REPS}, share=4, start=tmp_path / "start/whole")
    assert found["tried"] > 10
    assert found["manifests"] == [manifest]


def test_killed_while_balances_are_added(source: Path, tmp_path: Path) -> None:
    keys = {"balance": "over,under", "samples_per_class": "10", "balance_protocols": "intrapatient"}
    kill(source, tmp_path / "start", {}, share=0)
    (whole,) = kill(source, tmp_path / "whole", keys, share=0)["manifests"]
    assert "synthetic/intrapatient-under-10/zarr.json" in whole
    found = kill(source, tmp_path / "killed", keys, share=4, start=tmp_path / "start/whole")
    assert found["tried"] > 10
    assert found["manifests"] == [whole]


def test_killed_while_a_store_is_replaced(source: Path, tmp_path: Path, manifest: str) -> None:
    other = tmp_path / "other"
    write_mitdb(other, ("100", "102"), seconds=20, seed=3)
    kill(other, tmp_path / "start", {"reps": "gaf:size=16"}, share=0)
    found = kill(source, tmp_path / "killed", {"reps": REPS}, share=5, start=tmp_path / "start/whole", replace=True)
    assert found["tried"] > 10
    assert found["manifests"] == [manifest]


def test_another_build_mends_a_stopped_addition(source: Path, tmp_path: Path, whole: str) -> None:
    """Between the new metadata and the new manifest; then the old pictures alone are asked for."""
    place = build(source, tmp_path, "--workers", "0", "--reps", "gaf:size=16")
    before = read_manifest(place)
    code = (
        "import os, signal, sys\n"
        "import store.places\n"
        "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        "whole = store.places.write_whole\n"
        "def or_die(path, text): die() if path.parent.name.startswith('mitdb') else whole(path, text)\n"
        "store.places.write_whole = or_die\n"
        "from ecgprep.cli import main; main()\n"
    )
    command = ["build", "--dataset", "mitdb", "--from", str(source), "--home", str(tmp_path), "--workers", "0"]
    killed = subprocess.run([sys.executable, "-c", code, *command, "--reps", REPS], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert read_manifest(place) == before
    build(source, tmp_path, "--workers", "0", "--reps", "gaf:size=16")
    after = read_manifest(place)
    assert "rep/mtf/zarr.json" in after.digests
    assert after.digest == whole


@pytest.mark.parametrize("seed", [0, 1])
def test_process_group_of_workers_is_killed(source: Path, tmp_path: Path, whole: str, seed: int) -> None:
    command = [*ECGPREP, "build", "--dataset", "mitdb", "--from", str(source), "--home", str(tmp_path / "home")]
    command += ["--workers", "2", "--reps", REPS]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(random.Random(seed).uniform(0.5, 4.0))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    place = build(source, tmp_path / "home", "--workers", "2", "--reps", REPS)
    assert read_manifest(place).digest == whole
    assert {path.name for path in place.parent.iterdir()} == {place.name, f".{place.name}.lock"}
