"""Errors of the store and of the programs that write and read it.

Each class names a kind of fault and the exit code of a program that it stops: 1 damage or refusal,
2 a mistake of the user, 3 nothing left to work on, 4 resources.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN_NAMES = 80  # a store may have thousands of patients


class EcgError(Exception):
    """Base of all errors that a person can act on; the message is the one line that they read."""

    exit_code = 1


class UserError(EcgError, ValueError):
    """The request cannot be met as it stands: a wrong name, value or combination."""

    exit_code = 2


class UnknownNameError(UserError):
    """A name that is not known, with the nearest one that is.

    Parameters
    ----------
    kind : str
        What was named, such as ``"representation"``.
    name : str
        The name that was given.
    known : iterable of str
        The names that would do.
    where : str
        Where to see them all, for the end of the message.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], where: str = "") -> None:
        names = list(known)
        close = difflib.get_close_matches(name.lower(), [known_name.lower() for known_name in names], n=1)
        match = next((n for n in names if close and n.lower() == close[0]), None)
        more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
        hint = f" Did you mean {match!r}?" if match else f" Known: {', '.join(names[:SHOWN_NAMES]) or 'none'}{more}."
        super().__init__(f"unknown {kind} {name!r}.{hint}{' ' + where if where else ''}")


class MissingDataError(EcgError, FileNotFoundError):
    """Raw data, a store or a run that was asked for is not where it was looked for."""

    exit_code = 2


class IncompleteStoreError(EcgError, FileNotFoundError):
    """A folder that holds no complete store: its manifest is absent."""

    exit_code = 2


class DamagedStoreError(EcgError, OSError):
    """A file of a store is missing, changed or unreadable."""


class LeakError(EcgError, ValueError):
    """A split puts one patient on two sides and its protocol does not say so."""


class NothingLeftError(EcgError):
    """Every record was left out, or ``--strict`` stopped at the first."""

    exit_code = 3


class ResourceError(EcgError, OSError):
    """Disk, memory or network gave out; the same command goes on later."""

    exit_code = 4


class RecordError(EcgError, ValueError):
    """A record that cannot be used; it goes to quarantine with this reason.

    Parameters
    ----------
    stage : str
        Where it failed, such as ``read``, ``quality``, ``leads``, ``label`` or ``quantise``.
    reason : str
        What was found.
    """

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(reason)
        self.stage = stage
        self.reason = reason

    def __reduce__(self) -> tuple[type[RecordError], tuple[str, str]]:
        return type(self), (self.stage, self.reason)
