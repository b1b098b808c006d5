"""A real Dask cluster in processes of its own, which loses a worker, all workers or its scheduler in mid-build."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from distributed import Client, wait

import ecgprep.execute
from ecgprep.execute import TaskRunner
from store.errors import ResourceError, UserError
from store.write import read_manifest
from tests.recordings import write_mitdb

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="kills by POSIX signals"),
    pytest.mark.slow,
    pytest.mark.timeout(300),
]

ROOT = Path(__file__).parents[2]
BUILD = (
    "import ecgprep.execute, store.schema\n"
    "store.schema.MAX_TASK_ROWS = 16\n"
    "ecgprep.execute.LOST_S = 2.0\n"
    "from ecgprep.cli import main; main()"
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    write_mitdb(folder, ("100", "208"), seconds=100)
    return folder


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of a build without a cluster."""
    home = tmp_path_factory.mktemp("whole")
    done = finish(start(source, home, "--workers", "0"))
    assert done.code == 0, done.stderr
    return read_manifest(done.place).digest


@dataclass
class Cluster:
    """A scheduler and its workers, each a process."""

    folder: Path
    scheduler: subprocess.Popen[bytes]
    address: str
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def notes(self) -> Path:
        return self.folder / "notes"

    def tasks_begun(self) -> Counter[str]:
        return Counter(self.notes.read_text().split()) if self.notes.exists() else Counter()

    def add_worker(self, packages: Path = ROOT, n_threads: int = 1) -> None:
        options = [
            "--nthreads",
            str(n_threads),
            "--no-nanny",
            "--no-dashboard",
            "--preload",
            str(ROOT / "tests/faults/count_fills.py"),
        ]
        environment = os.environ | {"PYTHONPATH": f"{packages}{os.pathsep}{ROOT}", "ECG_TEST_NOTES": str(self.notes)}
        self.workers.append(dask("worker", self.address, *options, folder=self.folder, environment=environment))


def dask(*arguments: str, folder: Path, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dask", *arguments]
    with (folder / f"{arguments[0]}.log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


@contextmanager
def cluster_of(n_workers: int, folder: Path) -> Iterator[Cluster]:
    """Run a cluster for the length of the ``with`` block."""
    folder.mkdir()
    facts = folder / "scheduler.json"
    options = ["--port", "0", "--no-dashboard", "--scheduler-file", str(facts), "--host", "127.0.0.1"]
    scheduler = dask("scheduler", *options, folder=folder)
    wait_until(lambda: facts.exists() and facts.read_text().endswith("}"), scheduler)
    cluster = Cluster(folder, scheduler, json.loads(facts.read_text())["address"])
    try:
        for _ in range(n_workers):
            cluster.add_worker()
        yield cluster
    finally:
        for process in (*cluster.workers, scheduler):
            process.kill()
            process.wait()


def wait_until(true: object, process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert process.poll() is None, "the process ended too early"
        assert time.monotonic() < until
        time.sleep(0.02)


def start(source: Path, home: Path, *options: str) -> subprocess.Popen[str]:
    command = ["build", "--dataset", "mitdb", "--from", str(source), "--home", str(home), *options]
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, *command], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@dataclass
class Done:
    code: int
    place: Path
    stderr: str


def finish(process: subprocess.Popen[str]) -> Done:
    stdout, stderr = process.communicate(timeout=150)
    assert "Traceback" not in stderr, stderr
    return Done(process.returncode, Path(stdout.strip()), stderr)


def receipts(home: Path) -> int:
    return len(list((home / "store").glob(".building-*/journal/*.json")))


def test_killed_worker_costs_the_task_it_was_at(source: Path, tmp_path: Path, whole: str) -> None:
    with cluster_of(2, tmp_path / "cluster") as cluster:
        process = start(source, tmp_path, "--scheduler", cluster.address)
        wait_until(lambda: receipts(tmp_path) >= 2, process)
        cluster.workers[0].send_signal(signal.SIGKILL)
        done = finish(process)
        assert done.code == 0, done.stderr
        begun = cluster.tasks_begun()
    assert read_manifest(done.place).digest == whole
    n_tasks = len(begun)
    assert n_tasks > 6
    assert sum(begun.values()) <= n_tasks + 1, f"only what the worker was at is done again: {begun}"


def test_cluster_without_workers_is_waited_for_and_then_given_up(source: Path, tmp_path: Path, whole: str) -> None:
    with cluster_of(2, tmp_path / "cluster") as cluster:
        process = start(source, tmp_path, "--scheduler", cluster.address)
        wait_until(lambda: receipts(tmp_path) >= 2, process)
        for worker in cluster.workers:
            worker.send_signal(signal.SIGKILL)
        done = finish(process)
        assert done.code == 4
        assert "no workers for 2 s" in done.stderr.splitlines()[-1]
        kept = receipts(tmp_path)
        before = sum(cluster.tasks_begun().values())
        cluster.add_worker()
        done = finish(start(source, tmp_path, "--scheduler", cluster.address))
        begun = cluster.tasks_begun()
    assert done.code == 0, done.stderr
    assert "went on with a stopped build" in done.stderr
    assert read_manifest(done.place).digest == whole
    assert sum(begun.values()) - before == len(begun) - kept, "what has a receipt is not done again"


def test_killed_scheduler_ends_the_build_and_the_next_goes_on(source: Path, tmp_path: Path, whole: str) -> None:
    with cluster_of(1, tmp_path / "cluster") as cluster:
        process = start(source, tmp_path, "--scheduler", cluster.address)
        wait_until(lambda: receipts(tmp_path) >= 2, process)
        cluster.scheduler.send_signal(signal.SIGKILL)
        done = finish(process)
    assert done.code == 4
    assert "the scheduler" in done.stderr.splitlines()[-1]
    assert receipts(tmp_path) >= 2
    done = finish(start(source, tmp_path, "--workers", "0"))
    assert done.code == 0, done.stderr
    assert "went on with a stopped build" in done.stderr
    assert read_manifest(done.place).digest == whole


def test_result_that_died_with_its_worker_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with cluster_of(1, tmp_path / "cluster") as cluster, Client(cluster.address) as client:
        future = client.submit(abs, -7)
        wait(future)
        cluster.workers[0].kill()
        cluster.workers[0].wait()
        result = partial(ecgprep.execute._result, future)
        with monkeypatch.context() as hasty:
            hasty.setattr(ecgprep.execute, "LOST_S", 1.0)
            with pytest.raises(ResourceError, match="no workers for 1 s"):
                ecgprep.execute._patiently(client, result)
        cluster.add_worker()
        assert ecgprep.execute._patiently(client, result) == 7


def test_scheduler_that_stops_answering_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ecgprep.execute, "LOST_S", 1.0)
    monkeypatch.setattr(ecgprep.execute, "ANSWER_S", 1.0)
    with cluster_of(1, tmp_path / "cluster") as cluster, TaskRunner(None, cluster.address) as runner:
        results = runner.run(abs, range(1000), 1000)
        next(results)
        cluster.scheduler.send_signal(signal.SIGSTOP)
        with pytest.raises(ResourceError, match="the scheduler has not answered for 1 s"):
            list(results)


def check_refused(folder: Path, add_worker: Callable[[Cluster], object], at_start: str, later: str) -> None:
    """Add a worker to a cluster that builds: the next build is refused, and the one that is left with it ends."""
    with cluster_of(1, folder / "cluster") as cluster, TaskRunner(None, cluster.address) as runner:
        assert list(runner.run(abs, [-1], 1)) == [1]
        add_worker(cluster)
        with Client(cluster.address) as client:
            client.wait_for_workers(2)
        with TaskRunner(None, cluster.address) as another, pytest.raises(UserError, match=at_start):
            list(another.run(abs, [-1], 1))
        cluster.workers[0].kill()  # the first build, which compared it alone, is left with the other
        with pytest.raises(UserError, match=later):
            list(runner.run(abs, [-1], 1))


def test_worker_with_other_software_is_refused(tmp_path: Path) -> None:
    facts = tmp_path / "sleepecg-0.1.dist-info" / "METADATA"
    facts.parent.mkdir()
    facts.write_text("Metadata-Version: 2.1\nName: sleepecg\nVersion: 0.1\n")
    said = r"the worker tcp://\S+ has sleepecg 0\.1"
    check_refused(tmp_path, lambda cluster: cluster.add_worker(tmp_path), f"{said}, here is", f"{said}, not")


def test_worker_of_several_threads_is_refused(tmp_path: Path) -> None:
    """Each binds the codec to one thread for the whole process, and frees it while another is still writing."""
    said = r"the worker tcp://\S+ has 2 threads"
    check_refused(tmp_path, lambda cluster: cluster.add_worker(n_threads=2), f"{said}; .* with --nthreads 1", said)


def test_workers_that_do_not_start_are_one_line(tmp_path: Path) -> None:
    """Those of a script without ``if __name__ == "__main__"`` do not: each would run it anew."""
    script = tmp_path / "unguarded.py"
    script.write_text("import sys\nfrom ecgprep.cli import main\nmain()\n")
    home = ["--from", str(tmp_path), "--home", str(tmp_path / "home")]
    write_mitdb(tmp_path, ("100",), seconds=20)
    command = [sys.executable, str(script), "build", "--dataset", "mitdb", "--workers", "1", *home]
    done = subprocess.run(command, text=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 4
    assert "worker processes do not start" in done.stderr.splitlines()[-1]
