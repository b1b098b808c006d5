"""Several processes that train one model: who they are, and what they say to each other.

`torchrun` starts them; each takes its rows of every global batch. Gradients are averaged by PyTorch's
`DistributedDataParallel`. Batch normalisation uses the statistics of all processes on GPUs (`SyncBatchNorm`), and of
each process alone on the CPU, where the running ones are those of the first process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """The processes of one training.

    Parameters
    ----------
    rank : int
        Number of this process.
    size : int
        How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes; the same on each of them."""
        if self.size > 1:
            values = values.clone()
            torch.distributed.all_reduce(values)
        return values

    def share_weights(self, model: nn.Module) -> None:
        """Give every process the weights and buffers of the first."""
        if self.size > 1:
            for value in model.state_dict().values():
                torch.distributed.broadcast(value, src=0)

    def share(self, value: Any) -> Any:
        """Return what the first process has."""
        if self.size == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, src=0)
        return box[0]

    def wait(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            torch.distributed.barrier()

    def own_device(self, device: torch.device) -> torch.device:
        """Return the device of this process, where a machine has several of a kind."""
        if device.type == "cuda" and device.index is None:
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return device

    def in_parallel(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return a model whose gradients are averaged over the processes; the model itself where there is one."""
        if self.size == 1:
            return model
        return nn.parallel.DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)


def this_world() -> World:
    """Return the processes that this one was joined with; one alone where there are no others."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return World(torch.distributed.get_rank(), torch.distributed.get_world_size())
    return World()


def started_by_torchrun() -> bool:
    """Whether `torchrun` started this process, and perhaps others."""
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def joined() -> Iterator[World]:
    """Join the processes that `torchrun` started, for as long as the block runs; do nothing where it started none."""
    if not started_by_torchrun():
        yield World()
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield this_world()
        torch.distributed.barrier()  # a process whose peer has left before it can abort when it leaves
    finally:
        torch.distributed.destroy_process_group()


def batch_norm_over(model: nn.Module, world: World, device: torch.device) -> nn.Module:
    """Return a model that normalises batches over all processes where the device can do that."""
    if world.size > 1 and device.type == "cuda":
        synchronised: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return synchronised
    return model


def without_averaging(model: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which a parallel model keeps its gradients to itself: more parts of the batch follow."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return model.no_sync()
    return nullcontext()
