"""Penultimate features that a run saved of its test rows, put on a plane."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from ecgeval.errors import RunFileError
from ecgeval.metrics import Array

MOST_ROWS = 5000
LEAST_FOR_UMAP = 50  # rows; below, the principal components say as much


class Features(NamedTuple):
    """Features of rows: `row` of shape (n,), `values` of shape (n, n_features)."""

    row: NDArray[np.int64]
    values: NDArray[np.float32]


def read_features(path: Path) -> Features:
    """Read ``features/test.parquet`` of a run: the columns ``row``, ``f_0``, ``f_1`` and so on.

    Raises
    ------
    RunFileError
        If it is damaged, has no such columns, or a feature is not a finite number.
    """
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise RunFileError(f"{path}: damaged ({error}); write it again with `ecgtrain features`") from error
    names = [f"f_{i}" for i in range(sum(name.startswith("f_") for name in table.column_names))]
    if not names or not {"row", *names} <= set(table.column_names):
        raise RunFileError(f"{path}: needs the columns row, f_0, f_1, …; it has {', '.join(table.column_names[:6])}")
    values = np.stack([table[name].to_numpy().astype(np.float32) for name in names], axis=1)
    if not np.isfinite(values).all():
        raise RunFileError(f"{path}: {(~np.isfinite(values)).any(axis=1).sum()} rows have features that are not finite")
    return Features(table["row"].to_numpy().astype(np.int64), values)


def choose_rows(label: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Return at most `most` rows, ascending, each class in its share of all rows and at least one of each.

    Parameters
    ----------
    label : ndarray of int64, shape (n,)
        Class of each row.
    most : int
        How many.
    seed : int
        Of the choice.
    """
    if len(label) <= most:
        return np.arange(len(label))
    rng = np.random.default_rng(seed)
    classes, n = np.unique(label, return_counts=True)
    share = np.maximum(1, n * (most - len(classes)) // len(label))
    parts = [rng.choice(np.flatnonzero(label == c), k, replace=False) for c, k in zip(classes, share, strict=True)]
    return np.sort(np.concatenate(parts))


def project(values: ArrayLike, seed: int = 0) -> tuple[Array, str]:
    """Return features on a plane, and the name of the method.

    Parameters
    ----------
    values : array_like, shape (n, n_features)
        Features.
    seed : int
        Of the method.

    Returns
    -------
    xy : ndarray of float64, shape (n, 2)
    method : str
        UMAP with 15 neighbours and a least distance of 0.1, or for fewer than 50 rows the principal components.

    References
    ----------
    McInnes L, Healy J, Melville J. UMAP: uniform manifold approximation and projection. arXiv:1802.03426 (2018).
    """
    points = np.asarray(values, dtype=np.float32)
    if len(points) < LEAST_FOR_UMAP:
        return principal_components(points), "PCA"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # umap says that TensorFlow is absent, which nothing here needs
        from umap import UMAP
    plane = UMAP(n_neighbors=15, min_dist=0.1, random_state=seed, n_jobs=1).fit_transform(points)
    return np.asarray(plane, dtype=np.float64), "UMAP"


def principal_components(values: ArrayLike) -> Array:
    """Return rows on their first two principal components; the sign makes each one's largest weight positive.

    Parameters
    ----------
    values : array_like, shape (n, n_features)
        Features.
    """
    points = np.asarray(values, dtype=np.float64)
    centred = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = np.vstack([axes, np.zeros((2, axes.shape[1]))])[:2]
    signs = np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])
    return np.asarray(centred @ (axes * np.where(signs == 0, 1, signs)[:, None]).T)
