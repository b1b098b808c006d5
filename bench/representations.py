"""Drawing one picture: each representation beside the library that a user would pick instead, one thread, in one run.

Ours goes from the store's int16 counts to the stored bytes; the peers go from voltages in mV to pictures of the same
size in floating point, by the calls that their manuals show, on the same rows: as a plain loop calls them, with one
row at a time, and with all rows at once, which suits those that take a batch. Repetitions take turns, so that whatever
else the machine does falls on all.

    python bench/representations.py DIR            DIR holds ptb-xl/ and mitdb/
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pywt
import torch
import wfdb
from numpy.typing import NDArray
from pyts.image import GramianAngularField, MarkovTransitionField
from scipy.ndimage import zoom
from scipy.signal import stft
from threadpoolctl import threadpool_limits

from ecgprep.representations import parse_reps, render_all

RECORDS, BEATS = 128, 1024  # about as many as a task of a build draws
Signals = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Rows to draw: int16 counts of 1 µV, shape (n_rows, n_samples)."""

    kind: Literal["beat", "record"]
    fs_hz: float
    size: int
    counts: NDArray[np.int16]

    @property
    def signal_mv(self) -> Signals:
        """The rows in mV."""
        return self.counts / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds ptb-xl/ and mitdb/")
    parser.add_argument("--repeat", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "Some quantiles are equal", UserWarning)  # pyts, of clipped beats
    for rows in (_records(arguments.folder / "ptb-xl"), _beats(arguments.folder / "mitdb")):
        print(f"\n{rows.counts.shape[1]} samples to {rows.size} x {rows.size}, {len(rows.counts)} rows, one thread")
        print(f"{'':14s} {'a picture':9s}   {'row by row':26s}  {'all rows in one call':26s}  beside")
        with threadpool_limits(1):
            for reps, peer, draw in PEERS:
                _compare(rows, reps, peer, draw, arguments.repeat)


def _records(folder: Path) -> Rows:
    """Take lead II of real records of ten seconds at 100 Hz."""
    headers = sorted((folder / "records100").glob("*/*.hea"))[:RECORDS]
    leads = [wfdb.rdrecord(str(header.with_suffix(""))).p_signal[:, 1] for header in headers]
    return Rows("record", 100.0, 224, np.rint(np.stack(leads) * 1000).astype(np.int16))


def _beats(folder: Path) -> Rows:
    """Take real beats of record 100 at 360 Hz."""
    lead = wfdb.rdrecord(str(folder / "100")).p_signal[:, 0]
    peaks = wfdb.rdann(str(folder / "100"), "atr").sample[5 : 5 + BEATS]
    return Rows("beat", 360.0, 128, np.rint(np.stack([lead[p - 93 : p + 93] for p in peaks]) * 1000).astype(np.int16))


def _compare(rows: Rows, names: str, peer: str, draw: Callable[[Signals, Rows], Any], repeat: int) -> None:
    reps = parse_reps(names, kind=rows.kind, fs_hz=rows.fs_hz, n_samples=rows.counts.shape[1])
    signal_mv = rows.signal_mv

    def ours() -> None:
        render_all(reps, rows.counts)

    def one_by_one() -> None:
        for row in signal_mv:
            draw(row[None], rows)

    def all_at_once() -> None:
        draw(signal_mv, rows)

    works = (ours, one_by_one, all_at_once)
    for work in works:
        work()  # tables, plans and compilation
    times = np.array([[_seconds(work) for work in works] for _ in range(repeat)])
    mine = np.median(times[:, 0]) / len(signal_mv) * 1e6
    print(
        f"{names:14s} {mine:6.1f} us   {_ratio(times[:, 1] / times[:, 0])}  {_ratio(times[:, 2] / times[:, 0])}  {peer}"
    )


def _ratio(ratios: NDArray[np.float64]) -> str:
    return f"{np.median(ratios):5.1f} times ({ratios.min():.1f} to {ratios.max():.1f})".ljust(26)


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _gaf(signal_mv: Signals, rows: Rows) -> Any:
    return GramianAngularField(image_size=rows.size).transform(signal_mv)


def _mtf(signal_mv: Signals, rows: Rows) -> Any:
    return MarkovTransitionField(image_size=rows.size, n_bins=8).transform(signal_mv)


def _scalogram(signal_mv: Signals, rows: Rows) -> Any:
    return [_picture(np.log10(np.abs(one) ** 2 + 1e-10), rows) for one in _transforms(signal_mv, rows)]


def _scalogram_and_phasogram(signal_mv: Signals, rows: Rows) -> Any:
    return [
        (
            _picture(np.log10(np.abs(one) ** 2 + 1e-10), rows),
            np.angle(_picture(one.real, rows) + 1j * _picture(one.imag, rows)),
        )
        for one in _transforms(signal_mv, rows)
    ]


def _transforms(signal_mv: Signals, rows: Rows) -> Any:
    n_freqs, low, high = (128, 0.5, 40.0) if rows.kind == "record" else (64, 1.0, 60.0)
    scales = pywt.frequency2scale("cmor1.5-1.0", np.geomspace(high, low, n_freqs) / rows.fs_hz)
    return (pywt.cwt(row, scales, "cmor1.5-1.0", method="fft")[0] for row in signal_mv)


def _picture(plane: Signals, rows: Rows) -> Signals:
    resized: Signals = zoom(plane, (rows.size / plane.shape[0], rows.size / plane.shape[1]), order=1)
    return resized


def _stft_parameters(rows: Rows) -> tuple[int, int, int]:
    return (64, 4, 448) if rows.kind == "record" else (48, 1, 256)


def _scipy_spectrogram(signal_mv: Signals, rows: Rows) -> Any:
    window, hop, nfft = _stft_parameters(rows)
    planes = []
    for row in signal_mv:
        _, _, transform = stft(row, nperseg=window, noverlap=window - hop, nfft=nfft, boundary="even")
        magnitude = np.abs(transform[rows.size : 0 : -1, : len(row) // hop])
        level = 20 * np.log10(np.maximum(magnitude, 1e-5) / max(magnitude.max(), 1e-5))
        planes.append(_picture(np.maximum(level, -80.0), rows))
    return planes


def _torch_spectrogram(signal_mv: Signals, rows: Rows) -> Any:
    """Draw all rows in one call, as torchaudio's Spectrogram and AmplitudeToDB do."""
    window, hop, nfft = _stft_parameters(rows)
    signal = torch.from_numpy(signal_mv).float()
    hann = torch.hann_window(window)
    transform = torch.stft(signal, nfft, hop, window, hann, center=True, pad_mode="reflect", return_complex=True)
    magnitude = transform[:, 1 : rows.size + 1, : signal.shape[1] // hop].flip(1).abs()
    peak = magnitude.amax(dim=(1, 2), keepdim=True).clamp(min=1e-5)
    level = (20 * torch.log10(magnitude.clamp(min=1e-5) / peak)).clamp(min=-80.0)
    size = (rows.size, rows.size)
    return torch.nn.functional.interpolate(level[:, None], size, mode="bilinear", antialias=True)


PEERS: list[tuple[str, str, Callable[[Signals, Rows], Any]]] = [
    ("gaf", "pyts", _gaf),
    ("mtf", "pyts", _mtf),
    ("cwt", "PyWavelets, FFT method", _scalogram),
    ("cwt,phasogram", "PyWavelets, FFT method, one transform", _scalogram_and_phasogram),
    ("spectrogram", "SciPy stft", _scipy_spectrogram),
    ("spectrogram", "torch.stft", _torch_spectrogram),
]

if __name__ == "__main__":
    main()
