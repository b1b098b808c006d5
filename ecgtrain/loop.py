"""The training loop.

Rows are ordered by (seed, epoch); dropout and augmentation are seeded by (seed, epoch, step). A checkpoint holds the
number of the next step and all that the steps before it have changed, so a run that goes on from it takes the very
steps that an uninterrupted one would have taken.
"""

from __future__ import annotations

import math
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils import clip_grad_norm_

from ecgtrain.averaging import WeightAverage
from ecgtrain.checkpoint import (
    Checkpoint,
    CheckpointError,
    read_checkpoint,
    read_newest,
    save_checkpoint,
    save_keeping_one_before,
)
from ecgtrain.choosing import badness, best_epoch
from ecgtrain.config import TrainingConfig
from ecgtrain.devices import pick_device
from ecgtrain.distributed import batch_norm_over, this_world, without_averaging
from ecgtrain.listener import Listener, StepLoss
from ecgtrain.loader import Batch, Loaders
from ecgtrain.losses import attraction, class_shares, logits_and_distances, make_loss, weights_beside
from ecgtrain.predicting import combined, forward, predict_logits, probabilities
from ecgtrain.samplers import step_seed
from ecgtrain.schedules import make_optimizer, rate_factor, risen, set_rate
from ecgtrain.scores import Scores, plain, score
from store.errors import EcgError, UnknownNameError

LAST, BEST = "last.safetensors", "best.safetensors"
RESCORE_TOLERANCE = 1e-3  # a GPU adds in another order
REPORTED_STEPS = 10  # between two looks at the losses, for which a GPU has to be waited for

History = list[dict[str, Any]]


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


def train(
    model: nn.Module,
    loaders: Loaders,
    config: TrainingConfig,
    folder: Path | None = None,
    *,
    listener: Listener | None = None,
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
    listener : Listener, optional
        Told of steps and epochs.

    Returns
    -------
    Trained
        The model and its history.

    Raises
    ------
    TrainingError
        If the loss is not a number.
    CheckpointError
        If all checkpoints of the folder are damaged, or of another model.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as kept:
            return train(model, loaders, config, Path(this_world().share(kept)), listener=listener)
    return _Training(model, loaders, config, folder, listener or Listener()).run()


@dataclass
class _Progress:
    """Where a training stands: its next step, and what the steps of the epoch so far have come to."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    history: History = field(default_factory=list)


class _Taken(NamedTuple):
    """A step that was taken and whose loss has not been looked at."""

    loss: Tensor
    n_rows: int
    first_row: int
    learning_rate: float


class _Training:
    """A training from its newest checkpoint to its last epoch."""

    def __init__(
        self, model: nn.Module, loaders: Loaders, config: TrainingConfig, folder: Path, listener: Listener
    ) -> None:
        self.world = this_world()
        self.device = self.world.own_device(pick_device(config.device))
        self.model = batch_norm_over(model.to(self.device), self.world, self.device)
        self.world.share_weights(self.model)
        self.loaders, self.config, self.folder, self.listener = loaders, config, folder, listener
        self.classes = loaders.label.classes
        self.average = WeightAverage(self.model, config.average_decay)
        self.loss = make_loss(
            loaders.train.target,
            len(self.classes),
            config.loss,
            weights_beside(config.class_weights, loaders.config.balance),
        )
        self.monitor = _monitor(config, loaders)
        self.optimizer = make_optimizer(self.model.parameters(), config.optimizer, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "float16")
        self.progress = _Progress()
        self.pending: list[_Taken] = []
        self.running = self.world.in_parallel(
            torch.compile(self.model) if config.compile else self.model,  # type: ignore[arg-type]
            self.device,
        )

    def run(self) -> Trained:
        """Take the steps that are left."""
        checkpoint = read_newest(self.folder / LAST, self.listener.warn)
        if checkpoint is not None:
            self._go_on(checkpoint)
        self.listener.go_on(self.progress.epoch, self.progress.step)
        self.world.wait()  # all have read before the first writes
        while self.progress.epoch < self.config.epochs and not self._stalled():
            self._finish_epoch()
        self.world.wait()
        self._restore_best()
        return Trained(self.model, self.progress.history, best_epoch(self.progress.history))

    def _go_on(self, checkpoint: Checkpoint) -> None:
        checkpoint.restore(self.model, self.optimizer, self.average.model)
        self.progress = _Progress(**checkpoint.state["progress"])
        self.scaler.load_state_dict(checkpoint.state["scaler"])
        if self.progress.history:
            read_checkpoint(self.folder / BEST)  # a damaged one is named now, and not after hours

    def _finish_epoch(self) -> None:
        """Take the rest of an epoch's steps, score validation, and save both the best and the last state."""
        progress = self.progress
        started = time.monotonic() - progress.seconds
        self._train(started)
        self.world.share_weights(self.average.model)
        validation_loss, scores = self._validate(self.average.model)
        if not math.isfinite(validation_loss):
            raise TrainingError(
                f"the loss of validation is {validation_loss} after epoch {progress.epoch + 1}, at learning rate "
                f"{self._rate():g}; lower optimizer.lr, or look for damaged rows or for classes without a training row"
            )
        entry = self._entry(validation_loss, scores, time.monotonic() - started)
        self.progress = _Progress(progress.epoch + 1, history=[*progress.history, entry])
        if self.world.first:
            if best_epoch(self.progress.history) == progress.epoch:
                save_checkpoint(self.folder / BEST, self.average.model, {"epoch": progress.epoch})
            self._save()
        self.listener.epoch(entry)

    def _train(self, started: float) -> None:
        """Take the steps of the epoch that are left."""
        train_mode(self.model)
        loader, progress = self.loaders.train, self.progress
        left = loader.shuffled(self.config.seed, progress.epoch, progress.step)
        saved = time.monotonic()
        for batch in self.listener.watch(left, loader.n_batches - progress.step, f"epoch {progress.epoch + 1}"):
            self._step(batch)
            progress.step += 1
            by_count = _divides(self.config.checkpoint.every_steps, progress.step)
            if by_count or progress.step % REPORTED_STEPS == 0:
                self._report()
                if by_count or time.monotonic() - saved > (self.config.checkpoint.every_s or math.inf):
                    progress.seconds = time.monotonic() - started
                    self._save()
                    saved = time.monotonic()
        self._report()

    def _step(self, batch: Batch) -> None:
        """Move the weights by one batch, and remember its loss on the device."""
        k, epoch, number = self.progress.step, self.progress.epoch, self._number()
        past = [badness(entry) for entry in self.progress.history]
        set_rate(
            self.optimizer,
            rate_factor(self.config.schedule, number, self.loaders.train.n_batches, self.config.epochs, past),
        )
        torch.manual_seed(step_seed(self.config.seed, epoch, k, self.world.rank))
        self.pending.append(_Taken(self._gradient(batch), len(batch.rows), int(batch.rows.min()), self._rate()))
        self.scaler.unscale_(self.optimizer)
        if self.config.gradient_clip is not None:
            clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update(self.model, number)

    def _gradient(self, batch: Batch) -> Tensor:
        """Leave the gradient of a batch in the weights, and return this process's share of its loss."""
        self.optimizer.zero_grad(set_to_none=True)
        target = class_shares(batch.target.to(self.device), len(self.classes))
        whole, n_rows = self.world.sum(torch.stack([self.loss.shares(target).sum(), target.new_tensor(len(target))]))
        pull = self.config.loss.prototype * risen(self._number(), self.loaders.train.n_batches, self.config.epochs)
        parts = batch.parts(self.config.accumulation)
        total = torch.zeros((), device=self.device)
        for i, part in enumerate(parts):
            more = i + 1 < len(parts)
            with without_averaging(self.running) if more else nullcontext():
                outputs = forward(self.running, part, self.device, self.config.precision)
                logits, distances = logits_and_distances(outputs, len(self.classes))
                shares = class_shares(part.target.to(self.device), len(self.classes))
                loss = self.loss.terms(logits, shares).sum() / whole
                loss = loss + pull * attraction(distances, shares).sum() / n_rows
                self.scaler.scale(loss * self.world.size).backward()  # averaged after
            total += loss.detach()
        return total

    def _report(self) -> None:
        """Tell the losses of the steps since the last report, and stop at one that is not a number."""
        if not self.pending:
            return
        taken, self.pending = self.pending, []
        losses = self.world.sum(torch.stack([step.loss for step in taken])).tolist()
        n_rows = self.world.sum(torch.tensor([step.n_rows for step in taken])).tolist()
        epoch, first = self.progress.epoch, self.progress.step - len(taken)
        for number, (loss, step) in enumerate(zip(losses, taken, strict=True), start=first + 1):
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss} in epoch {epoch + 1}, step {number}, at learning rate {step.learning_rate:g}; "
                    f"lower optimizer.lr, or look for damaged rows near row {step.first_row} of the store"
                )
        self.progress.loss_sum = sum((loss * n for loss, n in zip(losses, n_rows, strict=True)), self.progress.loss_sum)
        rates = [step.learning_rate for step in taken]
        self.listener.steps([StepLoss(epoch, first + i, losses[i], rate) for i, rate in enumerate(rates)])

    def _save(self) -> None:
        if not self.world.first:
            return
        state = {"progress": asdict(self.progress), "scaler": self.scaler.state_dict()}
        save_keeping_one_before(
            self.folder / LAST,
            lambda path: save_checkpoint(path, self.model, state, self.optimizer, self.average.model),
        )

    def _entry(self, validation_loss: float, scores: Scores, seconds: float) -> dict[str, Any]:
        score_classes = [self.classes.index(name) for name in self.loaders.split.score_classes]
        return {
            "epoch": self.progress.epoch,
            "train_loss": self.progress.loss_sum / len(self.loaders.train.rows),
            "validation_loss": validation_loss,
            "watched": self.monitor,
            "learning_rate": self._rate(),
            "seconds": round(seconds, 3),
            "validation": plain(scores.macro(score_classes)),
            "per_class": {
                name: plain({"f1": float(scores.f1[c]), "auroc": float(scores.auroc[c])})
                for c, name in enumerate(self.classes)
            },
        }

    def _number(self) -> int:
        """Return the number of the step that is next, counted over the epochs."""
        return self.progress.epoch * self.loaders.train.n_batches + self.progress.step

    def _rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _validate(self, model: nn.Module) -> tuple[float, Scores]:
        """Return the loss, a mean over windows, and the scores of the windows' mean probabilities."""
        loader, n_classes = self.loaders.validation, len(self.classes)
        logits = predict_logits(model, loader, self.device, self.config.precision, self.listener)
        target = class_shares(loader.target, n_classes)
        windows = target.repeat_interleave(logits.shape[1], dim=0)
        loss = float(self.loss.mean(torch.from_numpy(logits).view(-1, n_classes), windows))
        multilabel = self.loaders.label.multilabel
        probability = combined(probabilities(logits, multilabel=multilabel))
        return loss, score(target.numpy() == 1, probability, multilabel=multilabel)

    def _stalled(self) -> bool:
        done = len(self.progress.history)
        return bool(done) and done - 1 - best_epoch(self.progress.history) >= self.config.early_stopping.patience

    def _restore_best(self) -> None:
        """Load the best weights and score them again: a file that gives another score is not what was selected."""
        best = self.progress.history[best_epoch(self.progress.history)]
        read_checkpoint(self.folder / BEST).restore(self.model)
        loss, _ = self._validate(self.model)
        if not math.isclose(loss, best["validation_loss"], rel_tol=RESCORE_TOLERANCE, abs_tol=RESCORE_TOLERANCE):
            raise CheckpointError(
                f"{self.folder / BEST}: its validation loss is {loss:.6g}, but {best['validation_loss']:.6g} was "
                "measured when it was saved; start the run anew"
            )


def train_mode(model: nn.Module) -> None:
    """Set a model to training, but for the batch normalisation of frozen layers, which keeps its statistics."""
    model.train()
    for layer in model.modules():
        if isinstance(layer, _NormBase) and layer.weight is not None and not layer.weight.requires_grad:
            layer.eval()


def _divides(every: int | None, step: int) -> bool:
    return every is not None and step % every == 0


def _monitor(config: TrainingConfig, loaders: Loaders) -> str:
    wanted = config.early_stopping.monitor
    if wanted == "auto":
        return "macro_auroc" if loaders.label.multilabel else "macro_f1"
    known = ["validation_loss", *(f"macro_{kind}" for kind in Scores._fields)]
    known += [f"{kind}:{name}" for kind in Scores._fields for name in loaders.label.classes]
    if wanted not in known:
        raise UnknownNameError("early_stopping.monitor", wanted, known)
    return wanted
