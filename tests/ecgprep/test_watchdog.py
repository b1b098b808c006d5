"""The watchdog: native code that holds the interpreter's lock for ever is killed, and the next call works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ecgprep import rpeaks
from ecgprep.watchdog import Helper, HelperDiedError, TimeLimitError
from store.errors import RecordError, ResourceError
from tests.ecgprep.test_rpeaks import make_recording

DETECTORS_THAT_FAIL = """
import ctypes, os

def hang(*arguments):
    ctypes.PyDLL(None).pause()  # native code that keeps the interpreter's lock: no thread, no handler runs

def crash(*arguments):
    ctypes.string_at(0)

def fail(*arguments):
    raise IndexError("list index\\nout of range")

def pid(*arguments):
    return os.getpid()
"""


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of functions that go wrong, which the helper process can import."""
    (tmp_path / "faulty_detectors.py").write_text(DETECTORS_THAT_FAIL)
    monkeypatch.syspath_prepend(tmp_path)
    import importlib

    return importlib.import_module("faulty_detectors")


@pytest.fixture
def helper() -> Iterator[Helper]:
    made = Helper()
    yield made
    made.stop()


def test_one_process_serves_many_calls(helper: Helper, faulty: ModuleType) -> None:
    first = helper.call(10, faulty.pid)
    assert first != os.getpid()
    assert helper.call(10, faulty.pid) == first
    assert helper.call(10, np.add, np.arange(3), 1).tolist() == [1, 2, 3]


def test_a_hanging_native_call_is_killed_and_the_next_one_works(helper: Helper, faulty: ModuleType) -> None:
    first = helper.call(10, faulty.pid)
    started = time.monotonic()
    with pytest.raises(TimeLimitError, match=r"no result within 0\.5 s"):
        helper.call(0.5, faulty.hang)
    assert time.monotonic() - started < 5
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert helper.call(10, faulty.pid) != first


def test_a_crash_and_an_exception_come_back(helper: Helper, faulty: ModuleType) -> None:
    with pytest.raises(IndexError, match="out of range"):
        helper.call(10, faulty.fail)
    with pytest.raises(HelperDiedError):
        helper.call(10, faulty.crash)
    assert helper.call(10, faulty.pid) > 0


def test_the_answer_of_an_interrupted_call_is_not_taken_for_the_next_ones(helper: Helper, faulty: ModuleType) -> None:
    helper.call(10, faulty.pid)
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        helper.call(10, time.sleep, 1.0)
    assert helper.call(10, np.add, 1, 1) == 2


def test_an_interruption_while_the_process_starts_spoils_no_call(
    helper: Helper, faulty: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll, came = Connection.poll, []

    def interrupted_once(pipe: Connection, timeout: float) -> bool:
        if not came:
            came.append(timeout)
            raise KeyboardInterrupt
        return poll(pipe, timeout)

    monkeypatch.setattr(Connection, "poll", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        helper.call(10, faulty.pid)
    assert helper.call(10, faulty.pid) > 0


def test_who_reads_what_a_killed_program_printed_does_not_wait_for_its_helper(
    faulty: ModuleType, tmp_path: Path
) -> None:
    code = (
        "import os, threading, faulty_detectors\n"
        "from ecgprep.watchdog import Helper\n"
        "helper = Helper()\n"
        "print(helper.call(10, faulty_detectors.pid), flush=True)\n"
        "threading.Thread(target=helper.call, args=(600.0, faulty_detectors.hang), daemon=True).start()\n"
        "threading.Event().wait(0.5)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, text=True) as run:
        assert run.stdout is not None
        orphan = int(run.stdout.readline())
        try:
            assert run.communicate(timeout=20)[0] == ""
        finally:
            os.kill(orphan, signal.SIGKILL)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("hang", "sleepecg did not end within 1 s and was stopped"),
        ("crash", "sleepecg failed: HelperDiedError: its process died"),
        ("fail", "sleepecg failed: IndexError: list index out of range"),
    ],
)
def test_a_faulty_detector_quarantines_its_record(
    fault: str, reason: str, faulty: ModuleType, helper: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rpeaks.PACKAGE_DETECTORS, "sleepecg", getattr(faulty, fault))
    monkeypatch.setattr(rpeaks, "HELPER", helper)
    monkeypatch.setattr(rpeaks, "LIMIT_S", 0.5)
    with pytest.raises(RecordError, match=reason) as refusal:
        rpeaks.find_r_peaks(make_recording()[0], 360.0, "sleepecg")
    assert refusal.value.stage == "detect"


def no_process_left(*_: object, **__: object) -> subprocess.Popen[bytes]:
    raise BlockingIOError(11, "Resource temporarily unavailable")


def ends_at_once(_: object, start: type = subprocess.Popen, **options: Any) -> subprocess.Popen[bytes]:
    return start([sys.executable, "-c", ""], **options)


@pytest.mark.parametrize(("start", "why"), [(no_process_left, "temporarily unavailable"), (ends_at_once, "at once")])
def test_a_machine_that_starts_no_process_costs_no_record(
    start: Callable[..., Any], why: str, helper: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpeaks, "HELPER", helper)
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", start)
        with pytest.raises(ResourceError, match=f"does not start .*{why}.*fewer --workers"):
            rpeaks.find_r_peaks(make_recording()[0], 360.0, "sleepecg")
    assert helper.call(10, np.add, 1, 1) == 2


def test_it_works_inside_a_worker_of_dask() -> None:
    """Such a worker is a daemon, which may not start processes through multiprocessing."""
    from distributed import Client, LocalCluster

    signal_mv, peaks = make_recording()
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        found = client.submit(rpeaks.find_r_peaks, signal_mv, 360.0, "sleepecg").result(timeout=60)
    assert np.abs(found[:, None] - peaks).min(axis=0).max() <= 20
