"""The training loop.

Adam, a learning rate that falls when validation stalls, early stopping, and checkpoints of the last and the best epoch.
Rows are ordered by (seed, epoch) and dropout is seeded by (seed, epoch, step), so a run that goes on from a checkpoint
takes the very steps that an uninterrupted one would have taken.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ecgtrain.averaging import WeightAverage
from ecgtrain.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from ecgtrain.config import TrainingConfig
from ecgtrain.loader import Batch, Loader, Loaders
from ecgtrain.losses import make_loss
from ecgtrain.samplers import step_seed
from ecgtrain.scores import Scores, score
from store.errors import EcgError

LAST, BEST = "last.safetensors", "best.safetensors"
RESCORE_TOLERANCE = 1e-3  # a GPU adds in another order

History = list[dict[str, Any]]
Watch = Callable[[Iterable[Batch], int, str], Iterable[Batch]]
Tell = Callable[[dict[str, Any]], None]


class TrainingError(EcgError, RuntimeError):
    """Training cannot go on; the message says what was seen."""


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Parameters
    ----------
    model : torch.nn.Module
        With the weights of the best epoch.
    history : list of dict
        One entry an epoch; see `History` of the run's ``history.jsonl``.
    best_epoch : int
        Whose weights they are, counted from 0.
    """

    model: nn.Module
    history: History
    best_epoch: int


def pick_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is CUDA, else MPS, else the CPU."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def train(
    model: nn.Module,
    loaders: Loaders,
    config: TrainingConfig,
    folder: Path | None = None,
    *,
    watch: Watch | None = None,
    tell: Tell | None = None,
) -> Trained:
    """Train a model and return it with the weights of its best epoch.

    Parameters
    ----------
    model : torch.nn.Module
        Takes the loaders' keyword tensors and returns logits.
    loaders : Loaders
        From `ecgtrain.loader.loaders`.
    config : TrainingConfig
        How.
    folder : Path, optional
        Where the checkpoints lie; one that is there is gone on from. None: nothing is kept.
    watch : callable, optional
        Given the batches of a pass, their number and what the pass is; returns them, for a progress bar.
    tell : callable, optional
        Given each epoch's entry of the history.

    Returns
    -------
    Trained
        The model and its history.

    Raises
    ------
    TrainingError
        If the loss is not a number.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as kept:
            return train(model, loaders, config, Path(kept), watch=watch, tell=tell)
    return _Training(model, loaders, config, folder, watch or (lambda batches, _n, _what: batches)).run(tell)


class _Training:
    """The state of a training between two epochs."""

    def __init__(self, model: nn.Module, loaders: Loaders, config: TrainingConfig, folder: Path, watch: Watch) -> None:
        self.device = pick_device(config.device)
        self.model = model.to(self.device)
        self.loaders, self.config, self.folder, self.watch = loaders, config, folder, watch
        self.average = WeightAverage(self.model, config.average_decay)
        self.loss = make_loss(loaders.train.target, len(loaders.label.classes), config.class_weights)
        self.monitor = _monitor(config, loaders)
        self.optimizer = torch.optim.Adam(
            model.parameters(), lr=config.optimizer.lr, weight_decay=config.optimizer.weight_decay
        )
        self.schedule = ReduceLROnPlateau(
            self.optimizer, factor=config.schedule.factor, patience=config.schedule.patience, threshold=0.0
        )
        self.history: History = []

    def run(self, tell: Tell | None) -> Trained:
        """Run the epochs that are left."""
        if (self.folder / LAST).exists():
            self._go_on()
        for epoch in range(len(self.history), self.config.epochs):
            if self._stalled():
                break
            entry = self._epoch(epoch)
            self.history.append(entry)
            self.schedule.step(self._badness(entry))
            if self._best() == epoch:
                save_checkpoint(self.folder / BEST, self.average.model, {"epoch": epoch})
            state = {"history": self.history, "schedule": self.schedule.state_dict()}
            save_checkpoint(self.folder / LAST, self.model, state, self.optimizer, self.average.model)
            if tell:
                tell(entry)
        self._restore_best()
        return Trained(self.model, self.history, self._best())

    def _go_on(self) -> None:
        state = load_checkpoint(self.folder / LAST, self.model, self.optimizer, self.average.model)
        self.history = state["history"]
        self.schedule.load_state_dict(state["schedule"])
        for group, rate in zip(self.optimizer.param_groups, state["schedule"]["_last_lr"], strict=True):
            group["lr"] = rate

    def _epoch(self, epoch: int) -> dict[str, Any]:
        started = time.monotonic()
        rate = self.optimizer.param_groups[0]["lr"]
        train_loss = self._pass(epoch)
        validation_loss, scores = self._validate(self.average.model)
        if not math.isfinite(validation_loss):
            raise TrainingError(
                f"the loss of validation is {validation_loss} after epoch {epoch + 1}, at learning rate {rate:g}; "
                "lower optimizer.lr, or look for damaged rows or for classes without a training row"
            )
        score_classes = [self.loaders.label.classes.index(name) for name in self.loaders.split.score_classes]
        return {
            "epoch": epoch,
            "train_loss": train_loss,
            "validation_loss": validation_loss,
            "watched": self.monitor,
            "learning_rate": rate,
            "seconds": round(time.monotonic() - started, 3),
            "validation": _plain(scores.macro(score_classes)),
            "per_class": {
                name: _plain({"f1": float(scores.f1[c]), "auroc": float(scores.auroc[c])})
                for c, name in enumerate(self.loaders.label.classes)
            },
        }

    def _pass(self, epoch: int) -> float:
        self.model.train()
        total = 0.0
        loader = self.loaders.train
        batches = self.watch(loader.shuffled(self.config.seed, epoch), loader.n_batches, f"epoch {epoch + 1}")
        for k, batch in enumerate(batches):
            torch.manual_seed(step_seed(self.config.seed, epoch, k))
            loss = self._step(batch)
            self.average.update(self.model, epoch * loader.n_batches + k)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss} in epoch {epoch + 1}, step {k + 1}, at learning rate "
                    f"{self.optimizer.param_groups[0]['lr']:g}; lower optimizer.lr, or look for damaged rows near row "
                    f"{int(batch.rows.min())} of the store"
                )
            total += loss * len(batch.rows)
        return total / len(loader.rows)

    def _step(self, batch: Batch) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        logits = _forward(self.model, batch, self.device, self.config.precision)
        loss = self.loss(logits, batch.target.to(self.device))
        loss.backward()  # type: ignore[no-untyped-call]
        if self.config.gradient_clip is not None:
            clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        return loss.item()

    def _validate(self, model: nn.Module) -> tuple[float, Scores]:
        loader = self.loaders.validation
        logits = predict_logits(model, loader, self.device, self.config.precision, self.watch)
        loss = float(self.loss(torch.from_numpy(logits), loader.target))
        multilabel = self.loaders.label.multilabel
        truth = one_hot(loader.target, len(self.loaders.label.classes))
        return loss, score(truth == 1, probabilities(logits, multilabel=multilabel), multilabel=multilabel)

    def _badness(self, entry: dict[str, Any]) -> float:
        """Return the watched score so that less is better; infinity where it is undefined."""
        if self.monitor == "validation_loss":
            return float(entry["validation_loss"])
        value = entry["validation"][self.monitor.removeprefix("macro_")]
        return math.inf if value is None else -float(value)

    def _best(self) -> int:
        """Return the best epoch; of those that score alike, as perfect ones do, the one of least loss."""
        ranks = [(self._badness(entry), entry["validation_loss"], i) for i, entry in enumerate(self.history)]
        return min(ranks)[2]

    def _stalled(self) -> bool:
        return bool(self.history) and len(self.history) - 1 - self._best() >= self.config.early_stopping.patience

    def _restore_best(self) -> None:
        """Load the best weights and score them again: a file that gives another score is not what was selected."""
        best = self.history[self._best()]
        load_checkpoint(self.folder / BEST, self.model)
        loss, _ = self._validate(self.model)
        if not math.isclose(loss, best["validation_loss"], rel_tol=RESCORE_TOLERANCE, abs_tol=RESCORE_TOLERANCE):
            raise CheckpointError(
                f"{self.folder / BEST}: its validation loss is {loss:.6g}, but {best['validation_loss']:.6g} was "
                "measured when it was saved; start the run anew"
            )


def predict_logits(
    model: nn.Module, loader: Loader, device: torch.device, precision: str = "float32", watch: Watch | None = None
) -> NDArray[np.float32]:
    """Return a model's logits for all rows of a loader, in their order, shape (n_rows, n_classes)."""
    model.eval()
    batches: Iterable[Batch] = loader.in_order()
    if watch:
        batches = watch(batches, loader.n_batches, "scoring")
    with torch.inference_mode():
        logits = [_forward(model, batch, device, precision).cpu().numpy() for batch in batches]
    return np.concatenate(logits)


def probabilities(logits: NDArray[np.float32], *, multilabel: bool) -> NDArray[np.float32]:
    """Return the probabilities of logits: a sigmoid each for several labels a row, a softmax else."""
    values = torch.from_numpy(logits)
    found: NDArray[np.float32] = (values.sigmoid() if multilabel else values.softmax(dim=1)).numpy()
    return found


def one_hot(target: Tensor, n_classes: int) -> NDArray[np.int8]:
    """Return targets as 0 and 1, int8, shape (n_rows, n_classes)."""
    if target.ndim == 2:
        return target.numpy().astype(np.int8)
    hot: NDArray[np.int8] = (target.numpy()[:, None] == np.arange(n_classes)).astype(np.int8)
    return hot


def _forward(model: nn.Module, batch: Batch, device: torch.device, precision: str) -> Tensor:
    inputs = {name: value.to(device, non_blocking=True) for name, value in batch.inputs.items()}
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        logits: Tensor = model(**inputs)
    return logits.float()


def _monitor(config: TrainingConfig, loaders: Loaders) -> str:
    if config.early_stopping.monitor != "auto":
        return config.early_stopping.monitor
    return "macro_auroc" if loaders.label.multilabel else "macro_f1"


def _plain(values: dict[str, float]) -> dict[str, float | None]:
    """Return values as JSON knows them: what is undefined is null."""
    return {name: None if math.isnan(value) else value for name, value in values.items()}
