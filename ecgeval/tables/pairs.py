"""Tables of differences: between runs, between a fusion and its parts, and between protocols."""

from __future__ import annotations

import numpy as np

from ecgeval.block import Block
from ecgeval.evaluation import Evaluation
from ecgeval.metrics import METRICS, OF_ROWS
from ecgeval.passport import Key, Number
from ecgeval.statistics.paired import Difference, holm, mcnemar, paired_difference, verdict
from ecgeval.tables.table import Row, Table

LEAKAGE_METRICS = ("f1", "sensitivity", "auroc")
NO_GAIN = "no significant gain"


def difference(a: Evaluation, b: Evaluation, key: Key) -> Difference:
    """Return b − a in one figure, from the same resamples of the same patients.

    Parameters
    ----------
    a, b : Evaluation
        Two runs of one block.
    key : Key
        A figure whose resamples are kept; see `ecgeval.scoring.KEPT`.
    """
    resampled = (run.resampled.get(key, np.empty(0)) for run in (a, b))
    return paired_difference(a.numbers[key].value, b.numbers[key].value, *resampled)


def as_number(found: Difference, key: Key, run: Evaluation, note: str) -> Number:
    """Return a difference as a number with its passport.

    Parameters
    ----------
    found : Difference
        The difference.
    key : Key
        Of the figure that it is the difference of.
    run : Evaluation
        The run that is the minuend.
    note : str
        From what it is the difference, such as ``to resnet18``.
    """
    of = Key(key.metric, "difference", key.label or key.average)
    return Number(of, run.source, found.value, found.low, found.high, found.undefined_resamples, note)


def against_best(block: Block) -> Table:
    """Return each other run's difference to the best one, with Holm's correction over all of them."""
    keys = (Key("f1", "macro"), Key("auroc", "macro"))
    others = block.labelled()[1:]
    found = [[difference(block.best, run, key) for key in keys] for _, run in others]
    corrected = holm([row[0].p for row in found])
    best_right = block.best.right_rows()
    rows: list[Row] = []
    for (label, run), row, p in zip(others, found, corrected, strict=True):
        cells = [as_number(d, key, run, f"to {block.best_label}") for d, key in zip(row, keys, strict=True)]
        accuracy = mcnemar(best_right, run.right_rows())
        rows.append((label, *cells, row[0].p, float(p), verdict(row[0], float(p)), accuracy.p))
    columns = ("Model", "F1 difference", "AUROC difference", "p", "p (Holm)", "Verdict on F1", "McNemar p")
    note = (
        f"Difference to {block.best_label}, on the same resamples of the patients; p = 2 min(share ≤ 0, share ≥ 0), "
        "Holm over all rows. McNemar: exact, of rows with all labels right, which takes rows as independent."
    )
    return Table("differences_to_best", f"Differences to {block.best_label}", columns, tuple(rows), note)


def fusions(block: Block) -> list[tuple[str, Evaluation, list[tuple[str, Evaluation]]]]:
    """Return each fusion or ensemble with the single runs that it is made of, as far as they stand in the block.

    The parts of an ensemble are its members. Those of a fusion are, for each kind of input that it sees, the run on
    that input alone which validation prefers.
    """
    labelled = block.labelled()
    found = []
    for label, run in labelled:
        if run.header.members:
            parts = [pair for pair in labelled if pair[1].run.name in run.header.members]
        elif len(run.header.modalities) > 1:
            parts = [pair for kind in run.header.modalities for pair in _preferred(labelled, kind)]
        else:
            parts = []
        if parts:
            found.append((label, run, parts))
    return found


def modality_gains(block: Block) -> Table:
    """Return for each fusion the gain in each class's F1 over each of its single parts, with its interval."""
    rows: list[Row] = []
    for label, run, parts in fusions(block):
        for part_label, part in parts:
            keys = [Key("f1", "macro"), *(Key("f1", "class", c) for c in block.header.classes)]
            gains = [difference(part, run, key) for key in keys]
            corrected = holm([gain.p for gain in gains])
            rows += [
                (label, part_label, part.header.input, key.label or "macro",
                 as_number(gain, key, run, f"over {part_label}"), float(p), _gain(gain, float(p)))
                for key, gain, p in zip(keys, gains, corrected, strict=True)
            ]  # fmt: skip
    columns = ("Fusion", "Over", "Input", "Class", "F1 gain", "p (Holm)", "Verdict")
    note = "Paired resamples of the patients; Holm over the classes of a pair."
    return Table("modality_gains", "Which modality helps which class", columns, tuple(rows), note)


def leakage(leaking: Evaluation, disjoint: Evaluation) -> Table:
    """Return the same model under a leaking and a patient-disjoint protocol side by side.

    The two protocols test on different rows, so the difference is of two independent samples of patients.

    Parameters
    ----------
    leaking, disjoint : Evaluation
        From `ecgeval.leakage.pair_protocols`.
    """
    rows: list[Row] = []
    for metric in LEAKAGE_METRICS:
        for key in (Key(metric, "macro"), *(Key(metric, "class", c) for c in leaking.header.classes)):
            found = _independent_difference(disjoint, leaking, key)
            cells = (leaking.numbers[key], disjoint.numbers[key])
            gap = as_number(found, key, leaking, f"{leaking.header.protocol} − {disjoint.header.protocol}")
            rows.append((METRICS[metric].title, key.label or "macro", *cells, gap))
    columns = ("Metric", "Class", *(_protocol(run) for run in (leaking, disjoint)), "Owed to the leak")
    title = f"What the leak is worth: {leaking.header.model}"
    note = (
        "The difference is what a figure owes to test rows of patients, or neighbours of beats, that were trained on; "
        "part of it may come from the two protocols' different test rows. It is no gain of the model. "
        f"Macro means are over the classes scored under both: {', '.join(leaking.of('f1').source.score_classes)}."
    )
    return Table(f"leakage_{leaking.run.name}_{disjoint.run.name}", title, columns, tuple(rows), note)


def leakage_sentence(leaking: Evaluation, disjoint: Evaluation) -> str:
    """Return in words what the leak adds to macro F1.

    Parameters
    ----------
    leaking, disjoint : Evaluation
        From `ecgeval.leakage.pair_protocols`.
    """
    found = _independent_difference(disjoint, leaking, Key("f1", "macro"))
    values = [run.of("f1").value for run in (leaking, disjoint)]
    less = f", beyond what {disjoint.header.protocol} leaks itself," if disjoint.header.leaks else ""
    return (
        f"{leaking.header.model}: macro F1 {values[0]:.3f} under {leaking.header.protocol}, {values[1]:.3f} under "
        f"{disjoint.header.protocol}. {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] of it is owed to "
        f"what leaks ({', '.join(leaking.header.leaks)}){less} and to other test rows, not to the model."
    )


def metric_name(key: Key) -> str:
    """Return what a figure is called in a sentence, such as ``macro F1-Score``."""
    if key.average == "rows":
        return OF_ROWS[key.metric].title
    return f"{METRICS[key.metric].title} of {key.label}" if key.label else f"{key.average} {METRICS[key.metric].title}"


def _protocol(run: Evaluation) -> str:
    leaks = ", ".join(run.header.leaks)
    return f"{run.header.protocol} ({f'leaks: {leaks}' if leaks else 'no leak known'})"


def _preferred(labelled: list[tuple[str, Evaluation]], kind: str) -> list[tuple[str, Evaluation]]:
    alone = [pair for pair in labelled if pair[1].header.input == kind and not pair[1].header.members]
    return [max(alone, key=lambda pair: np.nan_to_num(pair[1].validation_f1, nan=-1))] if alone else []


def _gain(gain: Difference, p: float) -> str:
    return {"better": "gain", "worse": "loss"}.get(verdict(gain, p), NO_GAIN)


def _independent_difference(a: Evaluation, b: Evaluation, key: Key) -> Difference:
    resampled = [run.resampled.get(key, np.empty(0)) for run in (a, b)]
    n = min(map(len, resampled))
    shuffled = np.random.default_rng(b.source.resampling_seed + 1).permutation(n)  # the draws of one seed are alike
    return paired_difference(a.numbers[key].value, b.numbers[key].value, resampled[0][:n], resampled[1][:n][shuffled])
