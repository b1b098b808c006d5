"""How a build grows with its input: seconds and peak memory for 100, 1,000 and 10,000 records, and start-up.

Real PTB-XL records at 100 Hz, repeated under other names where there are too few, become three leads times GAF, MTF
and CWT by ``ecgprep build``. Memory is the largest that the command and its workers hold together, sampled.

    python bench/growth.py DIR            DIR holds ptb-xl/
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from build import fill_up

SIZES = (10, 100, 1000, 10_000)
PROGRAMS = ("ecgprep", "ecgtrain", "ecgeval")
SAMPLE_S = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds ptb-xl/")
    parser.add_argument("--reps", default="gaf,mtf,cwt")
    arguments = parser.parse_args()
    for program in PROGRAMS:
        seconds = statistics.median(_run([_program(program), "--help"])[0] for _ in range(5))
        print(f"{program} --help: {seconds:.2f} s")
    print(f"{'records':>8s}{'seconds':>10s}{'ms each':>10s}{'peak MiB':>10s}{'of one process':>16s}")
    for n_records in SIZES:
        with tempfile.TemporaryDirectory() as name:
            fill_up(arguments.folder, Path(name), n_records)
            command = [_program("ecgprep"), "build", "--dataset", "ptbxl", "--from", name, "--home", f"{name}/home"]
            seconds, together, largest = _run([*command, "--reps", arguments.reps])
        print(f"{n_records:8d}{seconds:10.1f}{seconds / n_records * 1e3:10.2f}{together:10.0f}{largest:16.0f}")


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _run(command: list[str]) -> tuple[float, float, float]:
    """Return the seconds a command takes, and the peak MiB of all its processes and of the largest of them."""
    started = time.perf_counter()
    together = largest = 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            held = _held_mib(process.pid)
            together, largest = max(together, sum(held)), max(largest, *held, 0.0)
            time.sleep(SAMPLE_S)
        seconds = time.perf_counter() - started
        if process.returncode:
            assert process.stderr is not None
            raise SystemExit(process.stderr.read().decode())
    return seconds, together, largest


def _held_mib(pid: int) -> list[float]:
    """Return the memory of a process and of those that it started; of one that has just ended, none."""
    try:
        process = psutil.Process(pid)
        return [one.memory_info().rss / 2**20 for one in (process, *process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


if __name__ == "__main__":
    main()
