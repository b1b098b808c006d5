"""Databases whose beats an annotator marked: their labels follow from the marks, for beats and for frames alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ecgprep.beats import BeatPreset
from ecgprep.config import Prepare
from ecgprep.datasets.base import Database
from ecgprep.splits import Protocol, Rows, patient_protocols, score_classes, strata
from ecgprep.units import parse_unit
from store.plan import Values
from store.vocabulary import AAMI_CLASSES, BEAT_SCHEMES, FRAME_SCHEMES, UNUSED

ATR_SUFFIXES = (".hea", ".dat", ".atr")

FRAME_RULES = {
    "frame_beat": "most frequent of PAC, aberrated and PVC beats, else of normal and undefined ones; whole beats only",
    "frame_rhythm": "longest of undefined, AFIB and AFL, else of end, noise and normal",
    "heart_rate": "mean RR interval: under 60 bpm, 60 to 100, over 100; noise for fewer than two beats",
}


class AnnotatedDatabase(Database):
    """A database with a WFDB annotation file a record: beats have AAMI classes, windows and records those of frames."""

    label_rules: ClassVar[tuple[str, ...]] = ("aami",)

    def annotator(self, prepare: Prepare) -> str | None:
        """Return the suffix of the reference annotations."""
        return "atr"

    def schemes(self, prepare: Prepare) -> tuple[str, ...]:
        """Return the AAMI schemes for beats, else the schemes of frames."""
        beats = isinstance(parse_unit(str(prepare.unit)), BeatPreset)
        return tuple(BEAT_SCHEMES if beats else FRAME_SCHEMES)

    def labels(
        self, facts: Sequence[Mapping[str, Any]], marks: Mapping[str, NDArray[Any]], prepare: Prepare
    ) -> dict[str, Values]:
        """Return the AAMI class of each beat in both conventions for escape beats, or the classes of each frame."""
        if "symbol" in marks:
            return {scheme: _aami_label(scheme, marks["symbol"]) for scheme in BEAT_SCHEMES}
        return {
            scheme: Values(marks[scheme], {"classes": list(classes), "multilabel": False, "rule": FRAME_RULES[scheme]})
            for scheme, classes in FRAME_SCHEMES.items()
        }

    def usable(self, rows: Rows, facts: Sequence[Mapping[str, Any]], prepare: Prepare) -> NDArray[np.bool_]:
        """Return the rows with a label of the first scheme that has any."""
        return strata(rows.labels[self._known_schemes(rows, prepare)[0]]) >= 0

    def protocols(self, rows: Rows, facts: Sequence[Mapping[str, Any]], prepare: Prepare) -> list[Protocol]:
        """Return the draws by patient; frames have each for every scheme, such as ``patient-70-15-15-heart_rate``."""
        scheme, *others = self._known_schemes(rows, prepare)
        usable = self.usable(rows, facts, prepare)
        drawn = patient_protocols(rows, scheme, score_classes(rows.labels[scheme]), usable, prepare.seed)
        frames = [other for other in others if other in FRAME_SCHEMES]
        return drawn + [_for_scheme(protocol, other, rows.labels[other]) for other in frames for protocol in drawn]

    def _known_schemes(self, rows: Rows, prepare: Prepare) -> Sequence[str]:
        """Return the schemes of which some row has a label; all where none has."""
        schemes = self.schemes(prepare)
        return [scheme for scheme in schemes if (strata(rows.labels[scheme]) >= 0).any()] or schemes


def _for_scheme(protocol: Protocol, scheme: str, label: Values) -> Protocol:
    """Return the same parts for another scheme, without the rows that have no label of it."""
    values = np.where(strata(label) >= 0, protocol.values, UNUSED).astype(np.int8)
    name = f"{protocol.name}-{scheme}"
    return replace(protocol, name=name, values=values, scheme=scheme, score_classes=score_classes(label))


def _aami_label(scheme: str, symbols: NDArray[Any]) -> Values:
    class_of = BEAT_SCHEMES[scheme]
    values = np.array([AAMI_CLASSES.index(class_of[symbol]) for symbol in symbols.tolist()], dtype=np.int8)
    rule = " ".join(f"{symbol}:{name}" for symbol, name in class_of.items())
    return Values(values, {"classes": list(AAMI_CLASSES), "multilabel": False, "rule": rule})
