"""Killed at any moment and run again, a build ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
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
    write_mitdb(folder, ("100", "102", "208"), seconds=40)
    return folder


def kill_everywhere(
    source: Path, home: Path, reps: str, step: int, first: int, template: Path | None = None, replace: bool = False
) -> dict[str, list[str]]:
    """Return what `build_that_dies.py` found: the moments tried, and the distinct manifests."""
    arguments = [source, home, template or "", reps, step, first, "replace" if replace else ""]
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def build(source: Path, home: Path, *options: str) -> Path:
    """Build by the command line without workers; return the store."""
    command = [*ECGPREP, "build", "--dataset", "mitdb", "--from", str(source), "--home", str(home), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def whole_manifest(source: Path, home: Path, reps: str) -> str:
    """Return the manifest of an uninterrupted build with the script's tasks."""
    found = kill_everywhere(source, home, reps, 1, 10**9)
    assert found["tried"] == 0
    (manifest,) = found["manifests"]
    return manifest


def test_killed_at_every_kind_of_moment(source: Path, tmp_path: Path) -> None:
    found = kill_everywhere(source, tmp_path / "killed", REPS, step=13, first=random.Random(0).randint(1, 13))
    assert found["tried"] > 10
    assert found["manifests"] == [whole_manifest(source, tmp_path / "whole", REPS)]


def test_killed_while_pictures_are_added(source: Path, tmp_path: Path) -> None:
    start = tmp_path / "start"
    kill_everywhere(source, start, "gaf:size=16", 1, 10**9)
    found = kill_everywhere(source, tmp_path / "killed", REPS, step=5, first=1, template=start / str(10**9))
    assert found["tried"] > 10
    assert found["manifests"] == [whole_manifest(source, tmp_path / "whole", REPS)]


def test_killed_while_a_store_is_replaced(source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_mitdb(other, ("100", "102"), seconds=20, seed=3)
    start = tmp_path / "start"
    kill_everywhere(other, start, "gaf:size=16", 1, 10**9)
    template = start / str(10**9)
    found = kill_everywhere(source, tmp_path / "killed", REPS, step=17, first=1, template=template, replace=True)
    assert found["tried"] > 8
    assert found["manifests"] == [whole_manifest(source, tmp_path / "whole", REPS)]


def test_another_build_mends_a_stopped_addition(source: Path, tmp_path: Path) -> None:
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
    whole = build(source, tmp_path / "whole", "--workers", "0", "--reps", REPS)
    assert after.digest == read_manifest(whole).digest


@pytest.mark.parametrize("seed", [0, 1])
def test_process_group_of_workers_is_killed(source: Path, tmp_path: Path, seed: int) -> None:
    whole = read_manifest(build(source, tmp_path / "whole", "--workers", "0", "--reps", REPS))
    command = [*ECGPREP, "build", "--dataset", "mitdb", "--from", str(source), "--home", str(tmp_path / "home")]
    command += ["--workers", "2", "--reps", REPS]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(random.Random(seed).uniform(0.5, 4.0))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    place = build(source, tmp_path / "home", "--workers", "2", "--reps", REPS)
    assert read_manifest(place).digest == whole.digest
    assert {path.name for path in place.parent.iterdir()} == {place.name, f".{place.name}.lock"}
