"""What one row of a store is: a whole record, a fixed window or a beat, by a word that a recipe can hold.

``record`` or ``record:max=30``, ``window:10`` or ``window:10:step=5``, ``beat:PRESET``; lengths in seconds. Ready-made
arrays are ``given:beat`` or ``given:record``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgprep.beats import PRESETS, BeatPreset
from store.errors import UnknownNameError, UserError

EXAMPLES = "record, record:max=30, window:10, window:10:step=5 or beat:centred186"


@dataclass(frozen=True)
class WholeRecord:
    """A row is a record, or its first `max_s` seconds."""

    max_s: float | None = None

    def __str__(self) -> str:
        return "record" if self.max_s is None else f"record:max={self.max_s:g}"

    def n_samples(self, n_record: int, fs_hz: float) -> int:
        """Return how many samples of a record are kept."""
        return n_record if self.max_s is None else min(n_record, max(round(self.max_s * fs_hz), 1))


@dataclass(frozen=True)
class FixedWindow:
    """A row is a window of `length_s`; one starts every `step_s`, and all lie within the record."""

    length_s: float
    step_s: float

    def __str__(self) -> str:
        step = "" if self.step_s == self.length_s else f":step={self.step_s:.10g}"
        return f"window:{self.length_s:.10g}{step}"

    def n_samples(self, fs_hz: float) -> int:
        """Return the length of a window."""
        return max(round(self.length_s * fs_hz), 1)

    def starts(self, n_record: int, fs_hz: float) -> NDArray[np.int64]:
        """Return the first sample of each window of a record; the last one ends within it."""
        room = n_record - self.n_samples(fs_hz)
        step = self.step_s * fs_hz
        starts: NDArray[np.int64] = np.rint(np.arange(max(int(room / step) + 2, 0)) * step).astype(np.int64)
        return np.asarray(starts[starts <= room])


@dataclass(frozen=True)
class GivenRows:
    """Rows that the files hold ready cut, as beats or as records."""

    kind: str

    def __str__(self) -> str:
        return f"given:{self.kind}"


GIVEN = {str(unit): unit for unit in (GivenRows("beat"), GivenRows("record"))}

Unit = WholeRecord | FixedWindow | BeatPreset | GivenRows


def parse_unit(text: str) -> Unit:
    """Return the unit that a word names.

    Parameters
    ----------
    text : str
        Such as ``record``, ``window:10:step=5`` or ``beat:centred186``.

    Raises
    ------
    UnknownNameError
        If the kind or the preset is unknown.
    UserError
        If a length is no positive number of seconds.
    """
    kind, *rest = text.split(":")
    presets = {str(preset): preset for preset in PRESETS.values()}
    if text in presets:
        return presets[text]
    if text in GIVEN:
        return GIVEN[text]
    if kind not in ("record", "window"):
        raise UnknownNameError("unit", text, ("record", "window:10", *presets))
    if kind == "record":
        return WholeRecord(_options(text, rest, "max").get("max"))
    if not rest:
        raise UserError(f"--unit {text}: say how long a window is, such as window:10 (seconds)")
    length_s = _seconds(text, rest[0])
    return FixedWindow(length_s, _options(text, rest[1:], "step").get("step", length_s))


def _options(text: str, parts: list[str], known: str) -> Mapping[str, float]:
    options: dict[str, float] = {}
    for part in parts:
        key, _, value = part.partition("=")
        if key != known or options:
            why = "is given twice" if key == known else f"is not of the form {known}=SECONDS"
            raise UserError(f"--unit {text}: {part!r} {why}")
        options[key] = _seconds(text, value)
    return options


def _seconds(text: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = float("nan")
    if not 0 < seconds < float("inf"):
        raise UserError(f"--unit {text}: {value!r} is no length in seconds; write {EXAMPLES}")
    return seconds
