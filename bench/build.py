"""Building pictures from PTB-XL records: ecgprep beside a plain loop of the field's libraries, in one run.

Both turn the same records at 100 Hz into three leads times GAF, MTF and CWT at 224 x 224 pixels. The peer reads with
wfdb, draws with pyts and PyWavelets in one process, and saves a float32 ``.npy`` file for each record and picture; its
imports and compilation are not counted. Ours is the whole command, ``ecgprep build``, with its start-up, both passes,
checksums and manifest.

    python bench/build.py DIR            DIR holds ptb-xl/
    python bench/build.py DIR --repeat 3 --records 4000 --peer-records 24

Where DIR holds fewer records than are wanted, the ones that are there stand in for the others under their names, so
that start-up does not count.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pywt
import wfdb
from numpy.typing import NDArray
from pyts.image import GramianAngularField, MarkovTransitionField

LEADS = ("II", "V1", "V5")
SIZE = 224
FREQUENCIES_HZ = np.geomspace(40.0, 0.5, 128)


def main() -> None:
    arguments = _parse()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill_up(arguments.folder, folder, arguments.records)
        _compare(folder, arguments)


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
    with tempfile.TemporaryDirectory() as name:
        _build_by_loop(records[:1], Path(name))  # pyts compiles on first use
    print(f"{len(records)} records for ecgprep, {arguments.peer_records} for the loop, {arguments.repeat} repetitions")
    ours, peer, bytes_ours, bytes_peer = [], [], 0.0, 0.0
    for _ in range(arguments.repeat):
        seconds, n_bytes = _measure(lambda place: _build_by_command(folder, place))
        ours.append(len(records) / seconds)
        bytes_ours = n_bytes / len(records)
        subset = records[: arguments.peer_records]
        seconds, n_bytes = _measure(lambda place, subset=subset: _build_by_loop(subset, place))  # type: ignore[misc]
        peer.append(len(subset) / seconds)
        bytes_peer = n_bytes / len(subset)
    _print("wfdb + pyts + PyWavelets, one process, .npy", peer, bytes_peer)
    _print("ecgprep build", ours, bytes_ours)
    ratios = [mine / theirs for mine, theirs in zip(ours, peer, strict=True)]
    print(f"records a second: {statistics.median(ratios):.1f} times ({min(ratios):.1f} to {max(ratios):.1f})")
    print(f"bytes: 1/{bytes_peer / bytes_ours:.1f}")


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


def _build_by_command(folder: Path, place: Path) -> None:
    command = [str(Path(sys.executable).with_name("ecgprep")), "build", "--dataset", "ptbxl"]
    command += ["--reps", "gaf,mtf,cwt", "--from", str(folder), "--home", str(place)]
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
