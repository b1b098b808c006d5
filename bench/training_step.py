"""A step of training, and how long of it the model waits for its batch: rows held, streamed and drawn.

Real recordings, on the device that a training would take. "Alone" trains on batches that were made before: what the
model needs where rows cost nothing. The first epoch is not counted.

    python bench/training_step.py DIR          DIR holds ptb-xl/ and mitdb/
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ecgprep.build import build
from ecgprep.config import Prepare
from ecgtrain import create_model, train
from ecgtrain.config import TrainingConfig
from ecgtrain.devices import pick_device
from ecgtrain.listener import Listener
from ecgtrain.loader import Batch, Loader, Loaders, loaders
from pipelines.workspace import Workspace
from store.read import Store, open_store

COUNTED = "epoch 2"  # the first one chooses kernels and takes memory
MOST_BEATS = 1500  # of a class


class Clock(Listener):
    """Times the training steps of one epoch, and of them what goes by before the batch is there."""

    def __init__(self) -> None:
        self.steps_taken, self.seconds, self.waiting = 0, 0.0, 0.0

    def watch(self, batches: Iterable[Batch], n_batches: int, name: str) -> Iterable[Batch]:
        """Return the batches of a pass; those of the epoch that counts are timed."""
        return self._timed(batches) if name == COUNTED else batches

    def _timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        started = asked = _now()
        for batch in batches:
            self.waiting += _now() - asked
            yield batch
            self.steps_taken += 1
            asked = _now()
        self.seconds = _now() - started


@dataclass(frozen=True)
class Ready:
    """Stands in for a loader whose batches were all made before."""

    loader: Loader
    batches: list[Batch]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def shuffled(self, seed: int, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yield the batches, in the same order in every epoch."""
        return iter(self.batches[first:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds ptb-xl/ and mitdb/")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", choices=("beats", "pictures"), help="measure one of the two")
    parser.add_argument("--picture-model", default="resnet18")
    parser.add_argument("--signal-model", default="resnet1d_wang")
    arguments = parser.parse_args()
    print(
        f"on {pick_device('auto')}, {torch.get_num_threads()} threads; milliseconds a step, median (lowest to highest)"
    )
    with tempfile.TemporaryDirectory() as name:
        if arguments.only != "pictures":
            _beats(arguments.folder, Path(name), arguments.signal_model, arguments.repeat)
        if arguments.only != "beats":
            _pictures(arguments.folder, Path(name), arguments.picture_model, arguments.repeat)


def _beats(source: Path, home: Path, model: str, repeat: int) -> None:
    beats = partial(loaders, _build("mitdb", "", source, home), batch_size=128, samples_per_class=MOST_BEATS)
    held = beats(placement="host")
    ways = {"alone": _ready(held), "held in memory": held, "streamed": beats(placement="streamed")}
    _table(f"{model}, beats of MIT-BIH, batches of 128", model, ways, repeat)


def _pictures(source: Path, home: Path, model: str, repeat: int) -> None:
    store = _build("ptbxl", "gaf,mtf,cwt", source, home)
    pictures = partial(loaders, store, ("gaf", "mtf", "cwt"), batch_size=16)
    held = pictures(pictures="stored", placement="host")
    ways = {
        "alone": _ready(held),
        "stored, held in memory": held,
        "stored, streamed": pictures(pictures="stored", placement="streamed"),
        "drawn from signals": pictures(pictures="rendered"),
    }
    _table(f"{model}, nine pictures of 224 x 224 a record of PTB-XL, batches of 16", model, ways, repeat)


def _build(dataset: str, reps: str, source: Path, home: Path) -> Store:
    return open_store(build(Prepare(dataset=dataset, reps=reps), Workspace(home), source).place)


def _ready(data: Loaders) -> Loaders:
    return replace(data, train=cast(Loader, Ready(data.train, list(data.train.shuffled(seed=0, epoch=0)))))


def _table(title: str, model: str, ways: Mapping[str, Loaders], repeat: int) -> None:
    clocks: dict[str, list[Clock]] = {way: [] for way in ways}
    for _ in range(repeat):
        for way, data in ways.items():
            clocks[way].append(_clocked(model, data))
    print(f"\n{title}\n{'':26s}{'a step':>24s}{'waiting':>9s}{'beside alone':>14s}")
    alone = np.median([_step_ms(clock) for clock in clocks["alone"]])
    for way, found in clocks.items():
        steps = [_step_ms(clock) for clock in found]
        waiting = np.median([clock.waiting / clock.seconds for clock in found])
        spread = f"{np.median(steps):.0f} ({min(steps):.0f} to {max(steps):.0f})"
        print(f"{way:26s}{spread:>24s}{waiting:9.1%}{np.median(steps) / alone:14.2f}")


def _clocked(model: str, data: Loaders) -> Clock:
    clock = Clock()
    torch.manual_seed(0)
    train(create_model(model, **vars(data.shape)), data, TrainingConfig(epochs=2), listener=clock)
    return clock


def _step_ms(clock: Clock) -> float:
    return 1000 * clock.seconds / clock.steps_taken


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
