"""How the three programs end: one line for a person's mistake, and the exit code that says what it was."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
from collections.abc import Callable, Container

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
INTERRUPTED = 130
HOME_FOLDER = re.compile(r"(--[\w-]+=)?~/")


def run_program(app: Callable[..., object], name: str, resumable: Container[str] | None = None) -> None:
    """Run a command-line application and exit.

    An exception with an ``exit_code`` is printed as one line, a fault in the arguments among them; a full disk or too
    little memory exits with 4 and an interruption with 130. Anything else is a bug and keeps its traceback. Without
    arguments the program shows its help.

    Parameters
    ----------
    app : callable
        The typer application.
    name : str
        The program's name, for the line.
    resumable : container of str, optional
        The commands that go on where they were interrupted; by default all.
    """
    try:
        code = app(list(map(_expanded, sys.argv[1:])) or ["--help"], standalone_mode=False)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except MemoryError as error:
        _stop(name, f"out of memory ({error}); use fewer --workers or a smaller batch, and run it again", 4)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the reader left; nothing more to say
        sys.exit(0)
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            _stop(name, f"the disk is full ({error.filename or error}); free space and run it again", 4)
        if code is None:
            raise
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        _stop(name, " ".join(message.split()), int(code))
    if code == INTERRUPTED:  # typer turns the signal into this code
        goes_on = resumable is None or sys.argv[1] in resumable
        then = "goes on from here" if goes_on else "begins anew"
        _stop(name, f"interrupted; the same command {then}", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _expanded(argument: str) -> str:
    """Return an argument with the person's folder for ~; without a shell, or in ``--out=~/x``, it comes as it is."""
    start = HOME_FOLDER.match(argument)
    return f"{start[1] or ''}{os.path.expanduser('~')}/{argument[start.end() :]}" if start else argument


def _stop(name: str, message: str, code: int) -> None:
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it would complain of what else was under way
    sys.stderr.write(f"{name}: {message}\n")
    sys.exit(code)
