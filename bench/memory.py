"""Peak memory of a build: the process that plans, and each worker, by the size of the data.

    python bench/memory.py DIR                       DIR holds ptb-xl/ and challenge-2017/
    python bench/memory.py DIR --records 400,8000    PTB-XL's records at hand, and 20 times as many

Records beyond those that are at hand stand in under other names. All representations are drawn. Resident memory is
looked at 20 times a second, so a shorter peak can be missed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench.build import fill_up

REPS = "gaf,mtf,cwt,phasogram,spectrogram"
LOOK_S = 0.05


def main() -> None:
    arguments = _parse()
    print("records                 client MiB   worker MiB   seconds")
    with tempfile.TemporaryDirectory() as name:
        if (arguments.dir / "challenge-2017").is_dir():
            _print("challenge-2017", _measure("cinc2017", arguments.dir, Path(name) / "cinc", arguments.workers))
        for n_records in map(int, arguments.records.split(",")):
            folder = Path(name) / str(n_records)
            folder.mkdir()
            fill_up(arguments.dir, folder, n_records)
            _print(f"ptb-xl, {n_records}", _measure("ptbxl", folder, folder, arguments.workers))


def _measure(dataset: str, source: Path, home: Path, workers: int) -> tuple[float, float, float]:
    """Build; return the peaks of the client and of the largest worker in MiB, and the seconds."""
    command = ["build", "--dataset", dataset, "--from", str(source), "--home", str(home), "--reps", REPS]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "ecgprep", *command, "--workers", str(workers)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    client, worker = 0, 0
    while process.poll() is None:
        client = max(client, _resident(psutil.Process(process.pid)))
        worker = max([worker, *(_resident(child) for child in psutil.Process(process.pid).children(recursive=True))])
        time.sleep(LOOK_S)
    if process.returncode:
        raise SystemExit(f"the build of {dataset} ended with {process.returncode}")
    return client / 2**20, worker / 2**20, time.perf_counter() - start


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0


def _print(name: str, figures: tuple[float, float, float]) -> None:
    client, worker, seconds = figures
    print(f"{name:<22}  {client:>10,.0f}   {worker:>10,.0f}   {seconds:>7.0f}", flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--records", default="400,8000", help="numbers of PTB-XL records, with commas")
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
