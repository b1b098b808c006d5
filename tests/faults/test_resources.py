"""A full disk, dying workers, an interruption, two builds at once: one clear line, and the same command goes on."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ecgprep.execute import TaskRunner, _interruption_postponed
from store.write import read_manifest
from tests.recordings import write_mitdb

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="POSIX signals and mounts"),
    pytest.mark.slow,
    pytest.mark.timeout(300),
]

ECGPREP = [sys.executable, "-c", "from ecgprep.cli import main; main()"]
REPS = "gaf,mtf"
GIVEN = "given to a task"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    write_mitdb(folder, ("100", "102", "208", "210"), seconds=120)
    return folder


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of an uninterrupted build."""
    home = tmp_path_factory.mktemp("whole")
    done = subprocess.run(command(source, home), capture_output=True, text=True, check=True, timeout=120)
    return read_manifest(Path(done.stdout.strip())).digest


def command(source: Path, home: Path, workers: int = 0, reps: str = REPS) -> list[str]:
    options = ["--from", str(source), "--home", str(home), "--workers", str(workers), "--reps", reps]
    return [*ECGPREP, "build", "--dataset", "mitdb", *options]


def finish(source: Path, home: Path, workers: int = 0) -> str:
    """Run the same command again; return the digest of the store."""
    done = subprocess.run(command(source, home, workers), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return read_manifest(Path(done.stdout.strip())).digest


def last_line(stderr: str) -> str:
    assert "Traceback" not in stderr, stderr
    return stderr.strip().splitlines()[-1]


def wait_for(path: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    """Wait until a build has made a file."""
    until = time.monotonic() + 60
    while not list(path.glob(pattern)):
        assert process.poll() is None, "the build ended too early"
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that holds too little."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    try:
        made = subprocess.run(mount, capture_output=True, check=False, timeout=20).returncode == 0
    except OSError:
        made = False
    if not made:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True, timeout=20)


def resize(place: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(place)], check=True, timeout=20)


@pytest.mark.parametrize("workers", [0, 2])
def test_full_disk_is_named_and_the_build_goes_on(source: Path, small_disk: Path, whole: str, workers: int) -> None:
    sizes = ["64k", "256k", "1m", "2m", "4m"] if workers == 0 else ["1m"]
    for size in sizes:
        resize(small_disk, size)
        done = subprocess.run(
            command(source, small_disk, workers), capture_output=True, text=True, check=False, timeout=120
        )
        if done.returncode == 0:
            break
        assert done.returncode == 4, (size, done.stderr)
        assert "full" in last_line(done.stderr)
        assert str(small_disk) in last_line(done.stderr)
    assert size != "64k"
    resize(small_disk, "200m")
    assert finish(source, small_disk, workers) == whole
    assert not list((small_disk / "store").glob(".building*"))


def test_full_disk_while_pictures_are_added(source: Path, small_disk: Path, whole: str) -> None:
    resize(small_disk, "200m")
    subprocess.run(command(source, small_disk, reps="gaf"), capture_output=True, check=True, timeout=120)
    used = sum(path.stat().st_blocks * 512 for path in small_disk.rglob("*"))
    for spare in (40, 200, 800):
        resize(small_disk, f"{used // 1024 + spare}k")
        done = subprocess.run(command(source, small_disk), capture_output=True, text=True, check=False, timeout=120)
        if done.returncode == 0:
            break
        assert done.returncode == 4, done.stderr
        assert "full" in last_line(done.stderr)
    assert spare > 40
    resize(small_disk, "200m")
    assert finish(source, small_disk) == whole


@pytest.mark.parametrize("layout", ["npy", "pairs", "pt", "parquet", "wfdb"])
def test_full_disk_ends_an_export_with_one_line(source: Path, tmp_path: Path, small_disk: Path, layout: str) -> None:
    built = subprocess.run(command(source, tmp_path, reps=""), capture_output=True, text=True, check=True, timeout=120)
    exported = [*ECGPREP, "export", built.stdout.strip(), "--to", layout, "--out", str(small_disk / "out")]
    for size in ("64k", "320k", "480k", "640k", "2m"):
        resize(small_disk, size)
        done = subprocess.run(exported, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode == 0:
            break
        assert done.returncode == 4, (size, done.stderr)
        assert f"the disk that holds {small_disk / 'out'} is full" in last_line(done.stderr)
        assert [path.name for path in small_disk.iterdir()] == [".out.lock"]
    assert size != "64k"
    assert (small_disk / "out/export.json").exists()


def test_store_on_a_disk_that_is_read_only_is_read_and_not_added_to(source: Path, small_disk: Path) -> None:
    resize(small_disk, "200m")
    build = [*command(source, small_disk.parent / "home", reps=""), "--to", str(small_disk / "stores")]
    made = subprocess.run(build, capture_output=True, text=True, check=True, timeout=120)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True, timeout=20)
    for refused in (build, [*build, "--reps", REPS], [*build, "--home", str(small_disk)]):
        done = subprocess.run(refused, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 2, done.stderr
        assert f"{small_disk}/" in last_line(done.stderr)
        assert "(Read-only file system); name a" in last_line(done.stderr)
    verify = [*ECGPREP, "verify", made.stdout.strip()]
    assert subprocess.run(verify, capture_output=True, check=False, timeout=120).returncode == 0


@pytest.mark.parametrize("homes", [("one", "one"), ("one", "other")])
def test_two_builds_at_once(source: Path, tmp_path: Path, whole: str, homes: tuple[str, str]) -> None:
    """From two workspaces too, of which neither needs a folder of stores."""
    commands = [[*command(source, tmp_path / home), "--to", str(tmp_path / "stores")] for home in homes]
    first = subprocess.Popen(commands[0], text=True, stderr=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        wait_for(tmp_path / "stores", ".building-*", first)
        first.send_signal(signal.SIGSTOP)
        second = subprocess.run(commands[1], capture_output=True, text=True, check=False, timeout=60)
    finally:
        first.send_signal(signal.SIGCONT)
        place, _ = first.communicate(timeout=120)
    assert second.returncode == 4
    assert "another build of this store is running" in last_line(second.stderr)
    assert first.returncode == 0
    assert read_manifest(Path(place.strip())).digest == whole
    assert not list(tmp_path.glob("o*"))


@pytest.mark.parametrize("workers", [0, 2])
def test_interruption_says_that_the_command_goes_on(source: Path, tmp_path: Path, whole: str, workers: int) -> None:
    process = subprocess.Popen(
        command(source, tmp_path, workers),
        text=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for(tmp_path / "store", ".building-*/plan.sha256", process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to workers too
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    # Python itself may grumble where the signal meets a destructor; what is said last is ours
    assert stderr.splitlines()[-1] == "ecgprep: interrupted; the same command goes on from here"
    assert "KeyboardInterrupt" not in stderr
    assert finish(source, tmp_path, workers) == whole


def test_an_interruption_while_workers_start_is_kept_from_them_and_not_lost() -> None:
    asks = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, set()))"
    started: list[str] = []

    def start() -> None:
        with _interruption_postponed():
            os.kill(os.getpid(), signal.SIGINT)
            started.append(subprocess.check_output([sys.executable, "-c", asks], text=True))

    with pytest.raises(KeyboardInterrupt):
        start()
    assert started == ["True\n"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_killed_worker_stops_nothing_for_good(source: Path, tmp_path: Path, whole: str) -> None:
    process = subprocess.Popen(
        command(source, tmp_path, 2), text=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    wait_for(tmp_path / "store", ".building-*", process)
    workers = [
        child for child in psutil.Process(process.pid).children(recursive=True) if "spawn_main" in str(child.cmdline())
    ]
    assert workers
    workers[0].kill()
    _, stderr = process.communicate(timeout=120)
    assert process.returncode in (0, 4), stderr
    assert "Traceback" not in stderr
    assert finish(source, tmp_path, 2) == whole


def test_workers_keep_memory_that_they_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)  # left by any other cluster of this process
    with TaskRunner(1, None) as runner:
        (found,) = runner.run(os.getenv, ["MALLOC_TRIM_THRESHOLD_"], 8)
    assert found == str(2**27)


def test_what_tasks_were_given_is_not_kept() -> None:
    """By default Dask's scheduler, in this process, keeps the last thousand messages to each worker."""
    with TaskRunner(1, None) as runner:
        assert list(runner.run(len, ([GIVEN, number] for number in range(100)), 100)) == [2] * 100
        gc.collect()
        kept = [
            item
            for item in gc.get_objects()
            if type(item) is list and len(item) == 2 and isinstance(item[0], str) and item[0] == GIVEN
        ]
        assert len(kept) < 30
