"""Calling a function that may hang in native code, which no thread and no signal handler can stop.

The function runs in a helper process, which is kept for the next call and killed when it takes too long. The helper is
a plain child process: the workers of Dask may not start others through multiprocessing. What passes between the two is
pickled; nothing that was read from a file is unpickled.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from threading import Lock
from typing import Any

from store.errors import ResourceError

START_LIMIT_S = 60.0
ORPHAN_FACTOR = 1.2  # a helper whose caller has died ends itself after this many time limits


class TimeLimitError(TimeoutError):
    """A call did not end within its time limit; its process was killed."""


class HelperDiedError(RuntimeError):
    """The process of a call ended before the call did."""


class Helper:
    """A process that calls functions one at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._lock = Lock()

    def call(self, limit_s: float, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return ``function(*arguments)``, called in the helper process.

        Parameters
        ----------
        limit_s : float
            Time limit in seconds.
        function : callable
            A function of a module.
        *arguments
            What to call it with.

        Raises
        ------
        TimeLimitError
            If it does not end in time.
        HelperDiedError
            If its process dies.
        ResourceError
            If no process can be started.
        Exception
            What the function raises.
        """
        with self._lock:
            try:
                failed, value = self._answer(limit_s, function, arguments)
            except BaseException:  # Ctrl-C too: the answer that is still to come would be taken for the next call's
                self.stop()
                raise
        if failed:
            raise value
        return value

    def stop(self) -> None:
        """Kill the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def _answer(self, limit_s: float, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[bool, Any]:
        """Return whether the call failed, and its value or its fault; after any other end the process is of no use."""
        pipe = self._ready()
        try:
            pipe.send_bytes(pickle.dumps((limit_s, function, arguments), pickle.HIGHEST_PROTOCOL))
            if pipe.poll(limit_s):
                answer: tuple[bool, Any] = pipe.recv()
                return answer
        except (EOFError, OSError) as error:
            raise HelperDiedError("its process died") from error
        raise TimeLimitError(f"no result within {limit_s:g} s")

    def _ready(self) -> Connection:
        """Return the pipe to a process that waits for a call."""
        if self._process is not None and self._process.poll() is not None:
            self.stop()
        if self._pipe is None:
            try:
                self._pipe = self._start()
            except (EOFError, OSError) as error:
                raise ResourceError(
                    f"the process that a detector runs in does not start ({str(error) or 'it ended at once'}); run the "
                    "same command again with fewer --workers"
                ) from error
        return self._pipe

    def _start(self) -> Connection:
        """Start the process and return the pipe to it, once it says that it is ready."""
        ours, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-c", f"from ecgprep.watchdog import serve; serve({theirs.fileno()})"]
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                env=environment,
                stdout=subprocess.DEVNULL,  # who reads what the program prints must not wait for an orphan
            )
        if not ours.poll(START_LIMIT_S):
            raise TimeoutError(f"not within {START_LIMIT_S:g} s")
        ours.recv()
        return ours


def serve(descriptor: int) -> None:
    """Call what comes through a pipe until its other end is closed.

    Parameters
    ----------
    descriptor : int
        The pipe's file descriptor.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the caller decides
    pipe = Connection(descriptor)
    pipe.send("ready")
    with suppress(EOFError, BrokenPipeError):
        while True:
            limit_s, function, arguments = pickle.loads(pipe.recv_bytes())
            signal.setitimer(signal.ITIMER_REAL, ORPHAN_FACTOR * limit_s)  # its default action ends the process
            pipe.send(_result(function, arguments))
            signal.setitimer(signal.ITIMER_REAL, 0)


def _result(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    """Return whether the call failed, and its value or its fault."""
    try:
        return False, function(*arguments)
    except Exception as error:  # whatever a third party's function raises is the caller's to judge
        return True, error
