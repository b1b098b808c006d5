"""A block: runs of the same rows, labels and protocol, the only ones that are ranked against each other."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgeval.comparable import differences
from ecgeval.config import Evaluate
from ecgeval.evaluation import Evaluation, read_test
from ecgeval.header import Header
from ecgeval.predictions import Predictions
from ecgeval.runs import short_labels

RESERVED = ("visualizations",)  # a folder of the main block's own
MOST_CHARACTERS = 100  # of a folder's name


@dataclass(frozen=True)
class Block:
    """Comparable runs, best first by macro F1 on test.

    Parameters
    ----------
    folder : str
        Where its files go inside the report; empty for the report's own folder.
    evaluations : tuple of Evaluation
        The scored runs, best first.
    labels : tuple of str
        What tables and figures call each of them.
    apart : str
        What keeps it from the main block, in words; empty for the main block.
    """

    folder: str
    evaluations: tuple[Evaluation, ...]
    labels: tuple[str, ...]
    apart: str = ""

    @property
    def best(self) -> Evaluation:
        """The run with the highest macro F1 on test."""
        return self.evaluations[0]

    @property
    def best_label(self) -> str:
        """What tables call the best run."""
        return self.labels[0]

    @property
    def header(self) -> Header:
        """What the runs have in common."""
        return self.best.header

    @property
    def synthetic(self) -> bool:
        """Whether any of its runs was trained on synthetic recordings."""
        return any(run.header.store.synthetic for run in self.evaluations)

    @property
    def protocol(self) -> str:
        """The protocol with what it leaks, as it is stamped on tables and figures."""
        leaks = f"leaks: {', '.join(self.header.leaks)}" if self.header.leaks else "no leak known"
        return f"protocol {self.header.protocol} ({leaks}), labels {self.header.scheme}"

    @property
    def chosen_by_validation(self) -> str:
        """The run that validation would choose, by macro F1; empty where none has validation predictions."""
        known = [pair for pair in self.labelled() if not math.isnan(pair[1].validation_f1)]
        return max(known, key=lambda pair: pair[1].validation_f1)[0] if known else ""

    def labelled(self) -> list[tuple[str, Evaluation]]:
        """Return the runs with their labels, best first."""
        return list(zip(self.labels, self.evaluations, strict=True))


@dataclass(frozen=True)
class BestRows:
    """The test rows of one run of a block, mostly its best, for tables and figures that need rows.

    Parameters
    ----------
    label : str
        What tables call the run.
    evaluation : Evaluation
        The run, scored.
    rows : Predictions
        One prediction a row, with what is known about it.
    predicted : ndarray of bool, shape (n, n_classes)
        Predicted labels.
    """

    label: str
    evaluation: Evaluation
    rows: Predictions
    predicted: NDArray[np.bool_]

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Which rows have a label wrong, shape (n,)."""
        return np.asarray((self.rows.y != self.predicted).any(axis=1))


def read_rows(label: str, evaluation: Evaluation, config: Evaluate) -> BestRows:
    """Return the test rows of a scored run, read again.

    Parameters
    ----------
    label : str
        What tables call the run.
    evaluation : Evaluation
        The run, scored.
    config : Evaluate
        How it was scored.
    """
    rows = read_test(evaluation.run, config)
    return BestRows(label, evaluation, rows, evaluation.decision.predict(rows))


def make_blocks(groups: Sequence[Sequence[Evaluation]]) -> list[Block]:
    """Return a block for each group of comparable runs; the first one is the report's main block.

    The main block's files lie in the report's own folder, those of any other in a subfolder called
    ``<protocol>-<scheme>``, with a number where that is taken. No two runs of a report have the same label.

    Parameters
    ----------
    groups : sequence of sequence of Evaluation
        From `ecgeval.comparable.group_comparable`.
    """
    runs = [evaluation.run for group in groups for evaluation in group]
    label_of = dict(zip((run.path for run in runs), short_labels(runs), strict=True))
    blocks: list[Block] = []
    for group in groups:
        ranked = sorted(group, key=_rank)
        folder = _folder(ranked[0].header, {block.folder for block in blocks}) if blocks else ""
        apart = "; ".join(differences(blocks[0].best, ranked[0])) if blocks else ""
        blocks.append(Block(folder, tuple(ranked), tuple(label_of[e.run.path] for e in ranked), apart))
    return blocks


def _rank(evaluation: Evaluation) -> tuple[bool, float, str]:
    """Order by falling macro F1, undefined ones last, equal ones by name."""
    f1 = evaluation.of("f1").value
    return math.isnan(f1), -f1, evaluation.run.name


def _folder(header: Header, taken: set[str]) -> str:
    plain = re.sub(r"[^\w.-]+", "-", f"{header.protocol}-{header.scheme}")[:MOST_CHARACTERS].strip(".-") or "block"
    name, number = plain, 2
    while name in taken or name in RESERVED:
        name, number = f"{plain}-{number}", number + 1
    return name
