"""Building pictures from PTB-XL records: ecgprep beside a plain loop of the field's libraries, in one run.

Both turn the same records at 100 Hz into three leads times GAF, MTF and CWT at 224 x 224 pixels. The peer reads with
wfdb, draws with pyts and PyWavelets, and saves a float32 ``.npy`` file for each record and picture, in one process and
in two; its imports and compilation are not counted. Ours is the whole command, ``ecgprep build``, with its start-up,
both passes, checksums and manifest. After that come its parts, in one process, beside the limit of each.

    python bench/build.py DIR            DIR holds ptb-xl/
    python bench/build.py DIR --repeat 3 --records 4000 --peer-records 24

Where DIR holds fewer records than are wanted, the ones that are there stand in for the others under their names, so
that start-up does not count.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pywt
import wfdb
import zarr
from numcodecs import Zstd
from numpy.typing import NDArray
from pyts.image import GramianAngularField, MarkovTransitionField
from threadpoolctl import threadpool_limits

from ecgprep.config import Prepare
from ecgprep.datasets import get_database
from ecgprep.index import read_clean
from ecgprep.representations import parse_reps, render_all
from store.plan import Task
from store.schema import ArraySpec, representation_spec, signal_spec
from store.shards import write_task
from store.write import create_array

LEADS = ("II", "V1", "V5")
SIZE = 224
Result = TypeVar("Result")
FREQUENCIES_HZ = np.geomspace(40.0, 0.5, 128)


def main() -> None:
    arguments = _parse()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill_up(arguments.folder, folder, arguments.records)
        _compare(folder, arguments)
        with threadpool_limits(1):
            _parts(folder)


def fill_up(source: Path, folder: Path, n_records: int) -> None:
    """Write the first records of PTB-XL's table, each with the signals of one that is at hand."""
    (folder / "ptb-xl").mkdir()
    table = shutil.copy(source / "ptb-xl" / "ptbxl_database.csv", folder / "ptb-xl")
    here = sorted((source / "ptb-xl" / "records100").glob("*/*.hea"))
    names = pd.read_csv(table)["filename_lr"][:n_records]
    for name, header in zip(names, itertools.cycle(here), strict=False):
        place = folder / "ptb-xl" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.with_suffix(".hea").write_text(header.read_text().replace(header.stem, place.name))
        shutil.copyfile(header.with_suffix(".dat"), place.with_suffix(".dat"))


def _compare(folder: Path, arguments: argparse.Namespace) -> None:
    records = sorted((folder / "ptb-xl" / "records100").glob("*/*.hea"))
    subset = records[: arguments.peer_records]
    print(f"{len(records)} records for ecgprep, {len(subset)} for the loop, {arguments.repeat} repetitions")
    with ProcessPoolExecutor(2) as pool:
        for one in pool.map(_warm_up, [records[:1]] * 2):
            del one  # pyts compiles on first use
        _warm_up(records[:1])
        builds: dict[str, tuple[int, Callable[[Path], None]]] = {
            "loop, one process": (len(subset), lambda place: _build_by_loop(subset, place)),
            "loop, two processes": (len(subset), lambda place: _build_by_pool(pool, subset, place)),
            "ecgprep build": (len(records), lambda place: _build_by_command(folder, place, "gaf,mtf,cwt")),
            "ecgprep build, no pictures": (len(records), lambda place: _build_by_command(folder, place, "")),
        }
        rates: dict[str, list[float]] = {name: [] for name in builds}
        n_bytes: dict[str, float] = {}
        for _ in range(arguments.repeat):
            for name, (n_records, build) in builds.items():
                seconds, stored = _measure(build)
                rates[name].append(n_records / seconds)
                n_bytes[name] = stored / n_records
    for name in builds:
        _print(name, rates[name], n_bytes[name])
    stored = "ecgprep build"
    for peer in ("loop, one process", "loop, two processes"):
        ratios = [mine / theirs for mine, theirs in zip(rates[stored], rates[peer], strict=True)]
        spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
        print(f"records a second, beside the {peer}: {statistics.median(ratios):.1f} times ({spread})")
    for name in (stored, "ecgprep build, no pictures"):
        print(f"bytes, {name}: 1/{n_bytes['loop, one process'] / n_bytes[name]:.1f}")


def _parts(folder: Path) -> None:
    """Print where the time of a build goes, a record, and the least that each part could take on this machine."""
    database = get_database("ptbxl")
    prepare = database.resolve(Prepare(dataset="ptbxl", reps="gaf,mtf,cwt"))
    refs = database.find(folder / "ptb-xl", prepare).records[:128]
    files = [ref.path.with_name(ref.path.name + suffix) for ref in refs for suffix in ref.suffixes]
    read_s, counts = _timed(lambda: np.stack([read_clean(database, ref, prepare).counts for ref in refs]))
    bytes_s, _ = _timed(lambda: [file.read_bytes() for file in files])
    reps = parse_reps(prepare.reps, kind="record", fs_hz=100.0, n_samples=counts.shape[-1])
    draw_s, pictures = _timed(lambda: render_all(reps, counts))
    blocks = {"signal": counts, **{f"rep/{name}": planes for name, planes in pictures.items()}}
    memory_s, _ = _timed(lambda: [planes.astype(np.float32).astype(np.uint8) for planes in pictures.values()])
    specs = _specs(blocks)
    codec_s, packed = _timed(lambda: [each for spec in specs for each in _packed(blocks[spec.path], spec)])
    with tempfile.TemporaryDirectory() as name:
        write_s = _write_s(Path(name), blocks, specs)
        disk_s, _ = _timed(lambda: _write_and_sync(Path(name) / "plain", packed))
    print(f"\n{'one process, ms a record':28s}{'part':>8s}{'limit':>8s}   limit")
    for part, seconds, limit_s, limit in (
        ("read, check, round", read_s, bytes_s, "the files' bytes alone"),
        ("draw", draw_s, memory_s, "the pictures as float32 once through memory"),
        ("compress, digest, sync", write_s, codec_s + disk_s, "one thread's codec, then its bytes written and synced"),
    ):
        print(f"{part:28s}{seconds / len(refs) * 1e3:8.2f}{limit_s / len(refs) * 1e3:8.2f}   {limit}")


def _specs(blocks: Mapping[str, NDArray[Any]]) -> list[ArraySpec]:
    signal = signal_spec(len(blocks["signal"]), LEADS, blocks["signal"].shape[-1], {})
    pictures = {path: planes for path, planes in blocks.items() if path != "signal"}
    return [
        signal,
        *(representation_spec(path[4:], signal, planes.shape[2:], "uint8", {}) for path, planes in pictures.items()),
    ]


def _packed(block: NDArray[Any], spec: ArraySpec) -> list[bytes]:
    """Return what the store compresses as one piece, compressed by the codec alone."""
    rows, codec = spec.chunks[0], Zstd(level=spec.level)
    return [codec.encode(block[first : first + rows]) for first in range(0, len(block), rows)]


def _write_s(folder: Path, blocks: Mapping[str, NDArray[Any]], specs: Sequence[ArraySpec]) -> float:
    """Return the seconds in which the store writes one task."""
    group = zarr.create_group(folder / "store")
    for spec in specs:
        create_array(group, spec)
    task = Task(0, 0, len(blocks["signal"]))
    return _timed(lambda: write_task(folder / "store", "", task, blocks))[0]


def _write_and_sync(file: Path, chunks: Sequence[bytes]) -> None:
    with file.open("wb") as out:
        out.writelines(chunks)
        out.flush()
        os.fsync(out.fileno())


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Return the least seconds of three, and what the work gives."""
    results = []
    for _ in range(3):
        started = time.perf_counter()
        result = work()
        results.append(time.perf_counter() - started)
    return min(results), result


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds ptb-xl/")
    parser.add_argument("--records", type=int, default=4000, help="records that ecgprep builds")
    parser.add_argument("--peer-records", type=int, default=24)
    parser.add_argument("--repeat", type=int, default=3)
    return parser.parse_args()


def _measure(build: Callable[[Path], None]) -> tuple[float, int]:
    """Return the seconds that a build takes and the bytes that it leaves."""
    with tempfile.TemporaryDirectory() as name:
        started = time.perf_counter()
        build(Path(name))
        seconds = time.perf_counter() - started
        return seconds, sum(path.stat().st_size for path in Path(name).rglob("*") if path.is_file())


def _build_by_command(folder: Path, place: Path, reps: str) -> None:
    command = [str(Path(sys.executable).with_name("ecgprep")), "build", "--dataset", "ptbxl"]
    command += ["--reps", reps, "--from", str(folder), "--home", str(place)]
    subprocess.run(command, check=True, capture_output=True)


def _build_by_loop(headers: Sequence[Path], place: Path) -> None:
    gaf = GramianAngularField(image_size=SIZE)
    mtf = MarkovTransitionField(image_size=SIZE, n_bins=8)
    for header in headers:
        record = wfdb.rdrecord(str(header.with_suffix("")))
        signal = record.p_signal[:, [record.sig_name.index(lead) for lead in LEADS]].T
        pictures = {"gaf": gaf.transform(signal), "mtf": mtf.transform(signal), "cwt": _scalograms(signal)}
        for name, planes in pictures.items():
            np.save(place / f"{header.stem}-{name}.npy", planes.astype(np.float32))


def _build_by_pool(pool: ProcessPoolExecutor, headers: Sequence[Path], place: Path) -> None:
    halves = [headers[::2], headers[1::2]]
    for _ in pool.map(_build_by_loop, halves, [place, place]):
        pass


def _warm_up(headers: Sequence[Path]) -> None:
    with tempfile.TemporaryDirectory() as name:
        _build_by_loop(headers, Path(name))


def _scalograms(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log power, clipped to its 5th to 95th percentile, scaled to [0, 1] and resized to SIZE x SIZE."""
    from scipy.ndimage import zoom

    planes = []
    scales = pywt.frequency2scale("cmor1.5-1.0", FREQUENCIES_HZ / 100)
    for lead in signal:
        transform, _ = pywt.cwt(lead, scales, "cmor1.5-1.0", method="fft")
        power = np.log10(np.abs(transform) ** 2 + 1e-10)
        low, high = np.percentile(power, (5, 95))
        scaled = (np.clip(power, low, high) - low) / (high - low)
        planes.append(zoom(scaled, (SIZE / scaled.shape[0], SIZE / scaled.shape[1]), order=1))
    return np.stack(planes)


def _print(name: str, rates: Sequence[float], n_bytes: float) -> None:
    spread = f"{min(rates):.1f} to {max(rates):.1f}"
    print(f"{name:45s} {statistics.median(rates):7.1f} records/s ({spread}), {n_bytes / 1e3:8.1f} kB a record")


if __name__ == "__main__":
    main()
