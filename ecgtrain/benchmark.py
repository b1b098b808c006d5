"""How large a trained network is and how long it takes: parameters, operations, latency and throughput."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

BATCHES = (1, 16, 32, 64, 128, 256)
REPEATS = 20
MOST_S = 10.0  # of one batch size; its repeats then are fewer, three at least
FEWEST = 3


def benchmark(
    model: nn.Module,
    sizes: Mapping[str, Sequence[int]],
    device: torch.device,
    batches: Sequence[int] = BATCHES,
    repeats: int = REPEATS,
) -> dict[str, Any]:
    """Measure a network on rows of zeros.

    Parameters
    ----------
    model : torch.nn.Module
        The network, on `device`.
    sizes : mapping
        Shape of each keyword tensor of one row.
    device : torch.device
        Where it computes.
    batches : sequence of int
        Rows of the batches.
    repeats : int
        Passes of each size that are timed, after a warm-up.

    Returns
    -------
    dict
        As `docs/run-files.md` describes ``benchmark.json``, but for the size of the file.
    """
    model.eval()

    def rows(n: int) -> dict[str, Tensor]:
        return {name: torch.zeros(n, *size, device=device) for name, size in sizes.items()}

    with torch.inference_mode():
        timed = [_times(model, rows(n), n, repeats, device) for n in batches]
    return {
        "device": _device_name(device),
        "precision": "float32",
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "macs": count_macs(model, rows(1)),
        "batches": timed,
    }


def count_macs(model: nn.Module, inputs: Mapping[str, Tensor]) -> int | None:
    """Return the multiply-adds of one pass, by PyTorch's counter of matrix products and convolutions.

    Recurrent layers are no operations that it knows; a network with one gives None.
    """
    from torch.utils.flop_counter import FlopCounterMode

    if any(isinstance(layer, nn.RNNBase) for layer in model.modules()):
        return None
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(**inputs)
    return int(counter.get_total_flops()) // 2


def _times(model: nn.Module, inputs: dict[str, Tensor], n: int, repeats: int, device: torch.device) -> dict[str, Any]:
    def once() -> None:
        model(**inputs)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    once()  # takes memory and chooses kernels
    repeats = min(repeats, max(FEWEST, int(MOST_S / _seconds(once))))
    ms = 1e3 * np.array([_seconds(once) for _ in range(repeats)])
    return {
        "batch": n,
        "repeats": repeats,
        "mean_ms": float(ms.mean()),
        "sd_ms": float(ms.std(ddof=1)),
        "min_ms": float(ms.min()),
        "max_ms": float(ms.max()),
        "rows_per_s": float(1e3 * n / ms.mean()),
    }


def _seconds(once: Callable[[], None]) -> float:
    started = time.perf_counter()
    once()
    return time.perf_counter() - started


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
