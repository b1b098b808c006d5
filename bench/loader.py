"""Random batches of pictures and of beats: ecgtrain's loader beside what a user would write, in one run.

Stores are built from real recordings. Every loader goes through its rows once, shuffled, after one pass that is not
counted. Ours is one process with threads; the peers are a `Dataset` in a `DataLoader` with two worker processes, which
indexes a Zarr array or a memory-mapped ``.npy`` file one sample at a time, batches taken from a memory-mapped file by
one index each, and annbatch, where it is installed (it needs Python 3.12), which reads the same array by the same
codec, in the same shuffle of blocks, and whose beats are normalised alike. Of both that decode blocks the rows of
training are counted; annbatch, which takes no choice of rows, hands out the others as well. Pictures are counted as
planes of 224 x 224; there are twice as many as our loader keeps between two reads. Beats arrive as normalised float32.
Pictures arrive as the bytes that are stored, and are normalised where the model computes; ``.npy`` files hold float32,
as a loop writes them.

    python bench/loader.py DIR            DIR holds ptb-xl/ and mitdb/
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from build import fill_up
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from ecgprep.build import build
from ecgprep.config import Prepare
from ecgtrain.loader import Loader, loaders
from ecgtrain.samplers import WINDOW_BLOCKS, epoch_order
from pipelines.workspace import Workspace
from store.codecs import native_codecs
from store.read import Store, open_store

PICTURES_A_BATCH, BEATS_A_BATCH = 64, 1024
MOST_SAMPLES = 600  # of a peer that takes them one by one
MOST_BEATS = 20_000


class Samples(Dataset[torch.Tensor]):
    """Rows of a file, one at a time, normalised.

    Parameters
    ----------
    path : str
        A Zarr array, or an ``.npy`` file, opened in the worker.
    mean, sd : float
        What normalises.
    """

    def __init__(self, path: str, mean: float, sd: float) -> None:
        self.path, self.mean, self.sd = path, mean, sd

    @cached_property
    def values(self) -> Any:
        """The rows; by zarr's own codecs, which are the ones that survive worker processes."""
        return np.load(self.path, mmap_mode="r") if self.path.endswith(".npy") else zarr.open_array(self.path, mode="r")

    def __getitem__(self, row: int) -> torch.Tensor:
        return (torch.from_numpy(np.array(self.values[row], np.float32)) - self.mean) / self.sd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds ptb-xl/ and mitdb/")
    parser.add_argument("--records", type=int, default=4000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", choices=("pictures", "beats"), help="measure one of the two")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.only != "beats":
            _pictures(arguments.folder, folder, arguments.records, arguments.repeat)
        if arguments.only != "pictures":
            _beats(arguments.folder, folder, arguments.repeat)


def _pictures(source: Path, folder: Path, n_records: int, repeat: int) -> None:
    fill_up(source, folder, n_records)
    store = _build("ptbxl", "gaf", folder, folder)
    array = store.representation("gaf")
    n_leads = array.shape[1]
    np.save(folder / "pictures.npy", (np.asarray(array[:]) / np.float32(127.5) - 1))
    np.save(folder / "bytes.npy", np.asarray(array[:]))
    mapped, mapped_bytes = (np.load(folder / name, mmap_mode="r") for name in ("pictures.npy", "bytes.npy"))
    some = {"inputs": ("gaf",), "batch_size": PICTURES_A_BATCH, "pictures": "stored", "device": "cpu"}
    streamed = loaders(store, placement="streamed", **some).train
    held = loaders(store, placement="host", **some).train
    zarr_samples = Samples(_path(store, "rep/gaf"), 128.0, 64.0)
    mapped_samples = Samples(str(folder / "pictures.npy"), 0.0, 0.5)
    order = np.random.default_rng(0).permutation(len(mapped))
    passes: dict[str, Callable[[], int]] = {
        "ecgtrain, streamed from the store": lambda: _stored_rows(streamed) * n_leads,
        "ecgtrain, held in memory": lambda: _stored_rows(held) * n_leads,
        "ecgtrain, streamed, normalised on the processor": lambda: _normalised_rows(streamed) * n_leads,
        "Dataset over Zarr, 2 workers": _samples(zarr_samples, len(mapped), MOST_SAMPLES, n_leads),
        "Dataset over mapped .npy, 2 workers": _samples(mapped_samples, len(mapped), len(mapped), n_leads),
        "mapped .npy, float32, a batch an index": lambda: _mapped(mapped, order, PICTURES_A_BATCH) * n_leads,
        "mapped .npy, bytes, a batch an index": lambda: _mapped(mapped_bytes, order, PICTURES_A_BATCH) * n_leads,
        **_by_annbatch(_path(store, "rep/gaf"), streamed, lambda stored, rows: stored, n_leads),
    }
    _table(
        f"pictures a second, {len(mapped)} records of {n_leads} leads, batches of {PICTURES_A_BATCH}", passes, repeat
    )


def _beats(source: Path, folder: Path, repeat: int) -> None:
    store = _build("mitdb", "", source, folder)
    array = store.signal
    np.save(folder / "beats.npy", np.asarray(array[:]).astype(np.float32) / 1000)
    mapped = np.load(folder / "beats.npy", mmap_mode="r")
    some = {"batch_size": BEATS_A_BATCH, "protocol": "intrapatient", "context": (), "features": "none", "device": "cpu"}
    streamed = loaders(store, placement="streamed", **some).train
    held = loaders(store, placement="host", **some).train
    assert streamed.reader.moments is not None
    mean, sd = (torch.from_numpy(of_record).flatten(1, 2) for of_record in streamed.reader.moments)
    order = np.random.default_rng(0).permutation(len(mapped))
    passes: dict[str, Callable[[], int]] = {
        "ecgtrain, streamed from the store": lambda: _normalised_rows(streamed),
        "ecgtrain, held in memory": lambda: _normalised_rows(held),
        "Dataset over Zarr, 2 workers": _samples(
            Samples(_path(store, "signal"), 0.0, 500.0), len(mapped), MOST_SAMPLES
        ),
        "Dataset over mapped .npy, 2 workers": _samples(
            Samples(str(folder / "beats.npy"), 0.0, 0.5), len(mapped), MOST_BEATS
        ),
        "mapped .npy, float32, a batch an index": lambda: _mapped(mapped, order, BEATS_A_BATCH),
        **_by_annbatch(_path(store, "signal"), streamed, lambda stored, rows: (stored - mean[rows]).div_(sd[rows])),
    }
    _table(f"beats a second, {len(mapped)} beats, batches of {BEATS_A_BATCH}, normalised float32", passes, repeat)
    _shuffle_quality(store, streamed)


def _build(dataset: str, reps: str, source: Path, home: Path) -> Store:
    result = build(Prepare(dataset=dataset, reps=reps, workers=0), Workspace(home / "home"), source)
    return open_store(result.place)


def _path(store: Store, array: str) -> str:
    return f"{store.location}/{array}"


def _stored_rows(loader: Loader) -> int:
    """Go through an epoch as far as the device: rows as they are stored."""
    order = epoch_order(loader.rows // loader.block_rows, 0, 0)
    pieces = [order[i : i + loader.batch_size] for i in range(0, len(order), loader.batch_size)]
    return sum(len(places) for places, _ in loader._read_ahead(pieces))


def _normalised_rows(loader: Loader) -> int:
    return sum(len(batch.rows) for batch in loader.shuffled(seed=0, epoch=0))


def _samples(samples: Dataset[torch.Tensor], n_samples: int, most: int, planes: int = 1) -> Callable[[], int]:
    """Return a pass over some samples; the workers start with the first one, which is not counted."""
    rows = torch.randperm(n_samples)[:most].tolist()
    loader = DataLoader(
        samples,
        batch_size=64,
        sampler=rows,
        num_workers=2,
        multiprocessing_context="forkserver",
        persistent_workers=True,
    )
    return lambda: sum(len(batch) for batch in loader) * planes


def _by_annbatch(
    path: str, loader: Loader, finish: Callable[[torch.Tensor, NDArray[np.int64]], torch.Tensor], planes: int = 1
) -> dict[str, Callable[[], int]]:
    """Return a pass of annbatch over an array of a store, with as many rows in memory as ours has; none without it."""
    if find_spec("annbatch") is None:
        return {}
    from annbatch import Loader as Annbatch

    with native_codecs(threads=2):
        array = zarr.open_array(path, mode="r")
    shuffle: dict[str, Any] = {"chunk_size": loader.block_rows, "preload_nchunks": WINDOW_BLOCKS, "shuffle": True}
    batches = Annbatch(batch_size=loader.batch_size, to="torch", return_index=True, **shuffle).add_dataset(array)
    is_wanted = np.isin(np.arange(array.shape[0]), loader.rows)

    def once() -> int:
        n_rows = 0
        for batch in batches:
            finish(batch["X"], batch["index"])
            n_rows += int(np.count_nonzero(is_wanted[batch["index"]]))
        return n_rows * planes

    return {"annbatch, streamed from the store": once}


def _mapped(values: NDArray[Any], order: NDArray[np.int64], size: int) -> int:
    for start in range(0, len(order), size):
        torch.from_numpy(values[np.sort(order[start : start + size])])
    return len(order)


def _table(title: str, passes: Mapping[str, Callable[[], int]], repeat: int) -> None:
    print(f"\n{title}")
    rates: dict[str, list[float]] = {name: [] for name in passes}
    for once in passes.values():
        once()
    for _ in range(repeat):
        for name, once in passes.items():
            started = time.perf_counter()
            rates[name].append(once() / (time.perf_counter() - started))
    first = np.median(rates[next(iter(passes))])
    for name, found in rates.items():
        spread = f"{np.median(found):12,.0f} ({min(found):,.0f} to {max(found):,.0f})"
        print(f"{name:50s}{spread:42s} ours / it {first / np.median(found):7.2f}")


def _shuffle_quality(store: Store, loader: Loader) -> None:
    """Compare an epoch's order with a full permutation: runs of equal labels, and neighbours in the recording."""
    labels = store.label("aami").values
    full = np.random.default_rng(1).permutation(loader.rows)
    ours = loader.rows[epoch_order(loader.rows // loader.block_rows, 0, 0)]
    print(f"\n{'order':18s}{'label runs':>12s}{'longest':>9s}{'neighbours adjacent':>21s}{'SD of V in a batch':>20s}")
    for name, order in (("as stored", loader.rows), ("ecgtrain", ours), ("full permutation", full)):
        starts = np.flatnonzero(np.diff(labels[order])) + 1
        longest = np.diff([0, *starts, len(order)]).max()
        adjacent = np.mean(np.abs(np.diff(order)) <= 5)
        share = [np.mean(labels[order[i : i + 128]] == 2) for i in range(0, len(order) - 128, 128)]
        print(f"{name:18s}{len(starts) + 1:12d}{longest:9d}{adjacent:21.4%}{np.std(share):20.4f}")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
