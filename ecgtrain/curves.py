"""The learning curves of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def draw_curves(history: Sequence[Mapping[str, Any]], best_epoch: int, path: Path) -> None:
    """Draw losses, and macro F1 and AUROC of validation, against the epoch.

    Parameters
    ----------
    history : sequence of mapping
        Entries of ``history.jsonl``.
    best_epoch : int
        Whose weights were kept; marked.
    path : Path
        The PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, scores = figure.subplots(1, 2)
    epochs = [entry["epoch"] + 1 for entry in history]
    losses.plot(epochs, [entry["train_loss"] for entry in history], label="training")
    losses.plot(epochs, [entry["validation_loss"] for entry in history], label="validation")
    losses.set(xlabel="epoch", ylabel="loss")
    for key, name in (("f1", "macro F1"), ("auroc", "macro AUROC")):
        values = [entry["validation"][key] for entry in history]
        scores.plot(epochs, [float("nan") if value is None else value for value in values], label=name)
    scores.set(xlabel="epoch", ylabel="validation score", ylim=(0, 1))
    for axes in (losses, scores):
        axes.axvline(best_epoch + 1, color="0.6", linestyle=":", label="best epoch")
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
