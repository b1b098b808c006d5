"""What a network makes of a row just before it decides: the features that its head reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import nn

from ecgtrain.heads import read_by_head
from ecgtrain.loader import Loader
from ecgtrain.predicting import forward
from ecgtrain.predictions import write_table

FEATURES = Path("features", "test.parquet")


def penultimate_features(model: nn.Module, loader: Loader, precision: str = "float32") -> NDArray[np.float32]:
    """Return the features of all rows of a loader, in their order, each the mean over the row's windows.

    Parameters
    ----------
    model : torch.nn.Module
        A network whose last linear layer gives the logits.
    loader : Loader
        The rows.
    precision : str
        Arithmetic of the layers that gain by it.

    Returns
    -------
    ndarray of float32, shape (n_rows, n_features)

    Raises
    ------
    UserError
        If the network has no such layer.
    """
    model.eval()
    order, kept = [], []
    with read_by_head(model, loader.n_classes) as seen, torch.inference_mode():
        for batch in loader.in_order():
            forward(model, batch, loader.device, precision)
            order.append(batch.rows)
            kept.append(seen.pop().cpu().numpy())
    rows, values = np.concatenate(order), np.concatenate(kept)
    total = np.zeros((len(loader.rows), values.shape[1]), np.float64)
    np.add.at(total, np.searchsorted(loader.rows, rows), values)
    return (total / len(loader.windows)).astype(np.float32)


def write_features(folder: Path, rows: NDArray[np.int64], features: NDArray[np.float32]) -> Path:
    """Write features beside their rows' numbers as ``features/test.parquet`` in a run's folder and return the file."""
    columns = {"row": rows, **{f"f_{i}": column for i, column in enumerate(features.T)}}
    write_table(folder / FEATURES, pa.table(columns))
    return folder / FEATURES
