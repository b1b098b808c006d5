"""Errors of ecgeval: what was wrong, in which file, and what to do; each carries the program's exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class EvaluationError(Exception):
    """Base of all errors that a person can act on; the message is the one line that they read."""

    exit_code = 1


class RunNotFoundError(EvaluationError, FileNotFoundError):
    """A run, or a file of it, that was asked for is not there, or the run has not finished."""

    exit_code = 2


class RunFileError(EvaluationError, ValueError):
    """A file of a run is damaged or breaks the contract between ecgtrain and ecgeval."""

    exit_code = 2


class RequestError(EvaluationError, ValueError):
    """The request cannot be met as it stands: two runs of one name, or a folder that is not a report."""

    exit_code = 2


class ProtocolError(EvaluationError, ValueError):
    """Two runs were to be set side by side that differ in rows, labels or protocol."""


def validation_faults(error: ValidationError) -> str:
    """Return what is wrong with a file's fields, each by its place, in one line."""
    messages = ((e["loc"], e["msg"].removeprefix("Value error, ")) for e in error.errors())
    return "; ".join(f"{'.'.join(map(str, place))}: {message}" if place else message for place, message in messages)
