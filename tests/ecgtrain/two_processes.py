"""What the test of several processes runs in each of them: STORE FOLDER."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from ecgtrain.config import TrainingConfig
from ecgtrain.distributed import joined
from ecgtrain.listener import Listener
from ecgtrain.loader import loaders
from ecgtrain.loop import train
from ecgtrain.predicting import predict_logits
from store.read import open_store

CONFIG = TrainingConfig(epochs=2, device="cpu", checkpoint={"every_steps": 4})


class Plain(torch.nn.Module):
    """One layer: no statistics of a batch and no dropout that would depend on the number of processes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(186, 5)

    def forward(self, signal, features=None):
        return self.layer(signal.flatten(1))


class Noisy(Plain):
    """One layer behind dropout and batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.before = torch.nn.Sequential(torch.nn.BatchNorm1d(186), torch.nn.Dropout(0.3))

    def forward(self, signal, features=None):
        return self.layer(self.before(signal.flatten(1)))


class Follower(Listener):
    """Remembers losses and rows; stops before step `stop_at` of the second epoch."""

    def __init__(self, stop_at=None):
        self.losses, self.rows, self.stop_at = {}, [], stop_at

    def watch(self, batches, n_batches, name):
        for k, batch in enumerate(batches):
            if name == "epoch 2" and k == self.stop_at:
                raise InterruptedError
            if name == "epoch 1":
                self.rows.extend(batch.rows.tolist())
            yield batch

    def steps(self, losses):
        self.losses |= {f"{one.epoch}/{one.step}": one.loss for one in losses}


def run(kind, store, folder, stop_at=None):
    """Train from the start or from what the folder holds; return what was seen."""
    torch.manual_seed(0)
    data = loaders(store, batch_size=32, context=[])
    follower, logits = Follower(stop_at), None
    try:
        trained = train(kind(), data, CONFIG, folder, listener=follower)
        logits = predict_logits(trained.model, data.test, torch.device("cpu")).tolist()
    except InterruptedError:
        pass
    return {"losses": follower.losses, "rows": follower.rows, "logits": logits}


def main() -> None:
    torch.set_num_threads(1)
    store, folder = open_store(sys.argv[1]), Path(sys.argv[2])
    with joined() as world:
        found = {
            "plain": run(Plain, store, folder / "plain"),
            "noisy": run(Noisy, store, folder / "noisy"),
            "stopped": run(Noisy, store, folder / "half", stop_at=9),
            "resumed": run(Noisy, store, folder / "half"),
            "begun by one": run(Plain, store, folder / "one"),
        }
        (folder / f"{world.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
