"""Codecs, chunk sizes and the store's own cost, on real signals and pictures, in one run.

Three tables:

1. for each kind of array and codec, how much smaller it gets, and how many gigabytes of raw data a second one thread
   writes and reads, as whole shards through zarrs;
2. the same for the chunk sizes of pictures, with the store's codec;
3. a task written by the store (compressed by two threads, digests taken, shards synced and renamed) and a whole read
   with its damage check, beside the same shards through the bare codec pipeline on one thread.

    python bench/codecs_and_chunks.py DIR            DIR holds ptb-xl/ and mitdb/
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import wfdb
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, ZstdCodec

from ecgprep.representations import parse_reps, render_all
from ecgtrain.sources import StoredRows
from store.codecs import compressor, native_codecs
from store.plan import Task
from store.schema import PICTURE_LEVEL, ZSTD_LEVEL, chunk_rows, representation_spec, signal_spec
from store.shards import write_task
from store.write import create_array

CODECS: dict[str, list[Any]] = {
    "none": [],
    "zstd -5, checksum": [ZstdCodec(level=-5, checksum=True)],
    "zstd -1, checksum": [ZstdCodec(level=-1, checksum=True)],
    "zstd -1": [ZstdCodec(level=-1)],
    "zstd 1, checksum": [ZstdCodec(level=1, checksum=True)],
    "zstd 1": [ZstdCodec(level=1)],
    "zstd 3, checksum": [ZstdCodec(level=3, checksum=True)],
    "blosc lz4, bit-shuffle": [BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")],
    "blosc zstd 1, bit-shuffle": [BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")],
    "blosc zstd 3, bit-shuffle": [BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle")],
}
CHUNK_ROWS = (1, 2, 4, 8, 16, 32)
Rows = NDArray[Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds ptb-xl/ and mitdb/")
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    arrays = _arrays(arguments.folder)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        _codec_table(arrays, place, arguments.repeat)
        _chunk_table(arrays["gaf"], place, arguments.repeat)
        _own_cost(arrays["int16 records"], place, arguments.repeat)


def _arrays(folder: Path) -> dict[str, Rows]:
    """Return real rows: records of ten seconds at 100 Hz, beats at 360 Hz, and pictures of three leads of records."""
    headers = sorted((folder / "ptb-xl" / "records100").glob("*/*.hea"))[:128]
    records = np.stack([wfdb.rdrecord(str(header.with_suffix(""))).p_signal.T for header in headers])
    records = np.rint(records * 1000).astype(np.int16)
    lead = wfdb.rdrecord(str(folder / "mitdb" / "100")).p_signal[:, 0]
    peaks = wfdb.rdann(str(folder / "mitdb" / "100"), "atr").sample[5:2053]
    beats = np.rint(np.stack([lead[p - 93 : p + 93] for p in peaks]) * 1000).astype(np.int16)
    return {
        **_pictures(np.ascontiguousarray(records[:, (1, 6, 10)])),
        "int16 records": records,
        "int16 beats": beats[:, None],
    }


def _pictures(records: Rows) -> dict[str, Rows]:
    reps = parse_reps("gaf,mtf,cwt,spectrogram", kind="record", fs_hz=100.0, n_samples=1000)
    pictures: dict[str, Rows] = render_all(reps, records)
    return pictures


def _codec_table(arrays: dict[str, Rows], place: Path, repeat: int) -> None:
    print(f"{'':16s}{'codec':28s}{'smaller':>8s}{'write':>9s}{'read':>9s}   GB/s of raw data, one thread")
    for kind, rows in arrays.items():
        chunk = chunk_rows(rows[0].nbytes, len(rows))
        ours = f"zstd {PICTURE_LEVEL if rows.dtype == np.uint8 else ZSTD_LEVEL}, checksum"
        for codec, filters in CODECS.items():
            smaller, write, read = _measure(rows, chunk, filters, place, repeat)
            print(f"{kind:16s}{codec + ' (ours)' * (codec == ours):28s}{smaller:8.2f}{write:9.2f}{read:9.2f}")


def _chunk_table(rows: Rows, place: Path, repeat: int) -> None:
    ours = chunk_rows(rows[0].nbytes, len(rows))
    print(f"\n{'gaf, rows a chunk':24s}{'bytes':>10s}{'smaller':>8s}{'write':>9s}{'read':>9s}   GB/s, one thread")
    for chunk in CHUNK_ROWS:
        smaller, write, read = _measure(rows, chunk, [compressor(PICTURE_LEVEL)], place, repeat)
        mark = " (ours)" if chunk == ours else ""
        print(f"{f'{chunk}{mark}':24s}{chunk * rows[0].nbytes:10d}{smaller:8.2f}{write:9.2f}{read:9.2f}")


def _measure(rows: Rows, chunk: int, codec: Iterable[Any], place: Path, repeat: int) -> tuple[float, float, float]:
    """Return by how much the rows shrink, and the gigabytes a second that are written and read."""
    path = place / "array"
    with native_codecs(1):
        array = _create(path, rows, chunk, codec)

        def write() -> None:
            array[:] = rows

        write_s = _median_s(write, repeat)
        read_s = _median_s(lambda: array[:], repeat)
        if not np.array_equal(array[:], rows):
            raise AssertionError("what was read is not what was written")
    return rows.nbytes / _stored_bytes(path), rows.nbytes / write_s / 1e9, rows.nbytes / read_s / 1e9


def _create(path: Path, rows: Rows, chunk: int, codec: Iterable[Any]) -> zarr.Array[Any]:
    return zarr.create_array(
        path,
        shape=rows.shape,
        dtype=rows.dtype,
        chunks=(chunk, *rows.shape[1:]),
        shards=rows.shape,
        compressors=list(codec),
        overwrite=True,
    )


def _own_cost(records: Rows, place: Path, repeat: int) -> None:
    """Write and read one task of a store with pictures of three leads: its shards alone, and as the store does."""
    leads = ["II", "V1", "V5"]
    rows = np.ascontiguousarray(records[:, (1, 6, 10)])
    signal = signal_spec(len(rows), leads, rows.shape[-1], {})
    blocks = {"signal": rows}
    for name, planes in _pictures(rows).items():
        blocks[f"rep/{name}"] = planes
    group = zarr.create_group(place / "store", overwrite=True)
    bare: dict[str, zarr.Array[Any]] = {}
    for path, block in blocks.items():
        spec = signal if path == "signal" else representation_spec(path[4:], signal, block.shape[2:], "uint8", {})
        create_array(group, spec)
        with native_codecs(1):
            bare[path] = _create(place / "bare" / path, block, spec.chunks[0], [compressor(spec.level)])
    n_bytes = sum(block.nbytes for block in blocks.values())
    task = Task(0, 0, len(rows))
    print(
        f"\n{len(rows)} records, {n_bytes / 1e6:.0f} MB{'':8s}{'pipeline':>10s}{'store':>10s}   GB/s; store / pipeline"
    )

    def write() -> None:
        for path, block in blocks.items():
            bare[path][:] = block

    _pair("write", write, lambda: write_task(place / "store", "", task, blocks), n_bytes, repeat)
    with native_codecs(1):
        stored = [StoredRows(zarr.open_array(place / "store" / path, mode="r"), range(len(leads))) for path in blocks]
    _pair(
        "read",
        lambda: [array[:] for array in bare.values()],
        lambda: [one.read(slice(None)) for one in stored],
        n_bytes,
        repeat,
    )


def _pair(name: str, pipeline: Callable[[], Any], own: Callable[[], Any], n_bytes: int, repeat: int) -> None:
    pipeline(), own()
    times = np.array([[_seconds_alone(pipeline), _seconds_alone(own)] for _ in range(repeat)])
    rates = n_bytes / np.median(times, axis=0) / 1e9
    ratios = times[:, 0] / times[:, 1]
    spread = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
    print(f"{name:26s}{rates[0]:10.2f}{rates[1]:10.2f}   {spread}")


def _stored_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _median_s(work: Callable[[], Any], repeat: int) -> float:
    work()
    return statistics.median(_seconds(work) for _ in range(repeat))


def _seconds_alone(work: Callable[[], Any]) -> float:
    """Return the seconds that work takes while nothing that others wrote is waiting for the disk."""
    os.sync()
    return _seconds(work)


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
