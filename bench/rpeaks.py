"""R-peak detectors on MIT-BIH: ours beside those of other packages, in one run.

    python bench/rpeaks.py DIR clean                                  all 48 records
    python bench/rpeaks.py DIR noise --noise ma --records 12          noise of nstdb added at 24 to -6 dB
    python bench/rpeaks.py DIR electrode                              the noisy recordings that nstdb publishes
    python bench/rpeaks.py DIR faults                                 gaps, clipping, flat lines, noise, an infinity

DIR holds mitdb/ and nstdb/. A beat is found if a peak lies within 150 ms of it, one to one (EC57). Each row gives Se,
PPV and F1 of all beats together, over the whole records and without their first five minutes, and processor seconds a
record. The other packages' detectors listen to the first lead; ours also has a row for that lead alone. Except in the
faults' rows, what a detector returns is counted as it is, without the checks of `find_r_peaks`. Ventricular flutter
(record 207) counts like any other stretch. Our detector was tuned on the 22 records of DS1, clean and with noise `ma`;
`--records ds1` and `--records rest` tell both apart.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import wfdb
from numpy.typing import NDArray

from ecgprep.datasets.mitdb import DS1, DS2, PACED
from ecgprep.noise import add_noise
from ecgprep.rpeaks import DETECTORS as RPEAK_DETECTORS
from ecgprep.rpeaks import find_r_peaks
from ecgprep.rpeaks_matching import match_r_peaks
from ecgprep.rpeaks_multilead import find_by_all_leads
from ecgprep.rpeaks_packages import PACKAGE_DETECTORS
from store.errors import RecordError
from store.vocabulary import BEAT_SCHEMES

FS_HZ = 360.0
LEARNING_S = 300
SNRS_DB = (24, 18, 12, 6, 0, -6)
DETECTORS: dict[str, Callable[[NDArray[np.float64], float], NDArray[np.int64]]] = {
    "multilead": find_by_all_leads,
    "multilead, first lead": lambda signal_mv, fs_hz: find_by_all_leads(signal_mv[:1], fs_hz),
    **PACKAGE_DETECTORS,
}


@dataclass
class Score:
    """Counts of a detector over records: the whole of them, and after the first five minutes."""

    hits: NDArray[np.int64]
    extra: NDArray[np.int64]
    missed: NDArray[np.int64]
    seconds: float = 0.0
    n_records: int = 0

    @classmethod
    def zero(cls) -> Score:
        """Return no counts."""
        return cls(*np.zeros((3, 2), np.int64))

    def add(self, found: NDArray[np.int64], beats: NDArray[np.int64]) -> None:
        """Count the peaks of one record."""
        for i, start in enumerate((0, LEARNING_S * FS_HZ)):
            late, true = found[found >= start], beats[beats >= start]
            hits = len(match_r_peaks(late, true, FS_HZ))
            self.hits[i] += hits
            self.extra[i] += len(late) - hits
            self.missed[i] += len(true) - hits

    def __str__(self) -> str:
        figures = []
        for hits, extra, missed in zip(self.hits, self.extra, self.missed, strict=True):
            se, ppv = hits / max(hits + missed, 1), hits / max(hits + extra, 1)
            figures.append(f"{se:.4f} {ppv:.4f} {2 * hits / max(2 * hits + extra + missed, 1):.4f}")
        return f"{' | '.join(figures)} | {self.seconds / max(self.n_records, 1):7.3f}"


def main() -> None:
    arguments = _parse()
    print(f"{'condition':24s} {'detector':22s}  Se     PPV    F1     | after 5 min: Se PPV F1 | s a record", flush=True)
    {"clean": _clean, "noise": _noise, "electrode": _electrode, "faults": _faults}[arguments.part](arguments)


def _clean(arguments: argparse.Namespace) -> None:
    for name in arguments.detectors:
        score = Score.zero()
        for signal_mv, beats in _records(arguments):
            _measure(name, signal_mv, beats, score)
        _print("clean", name, score)


def _noise(arguments: argparse.Namespace) -> None:
    noise_mv = _signal(arguments.folder / "nstdb" / arguments.noise)
    for snr_db in arguments.snr:
        scores = {name: Score.zero() for name in arguments.detectors}
        for signal_mv, beats in _records(arguments):
            noisy_mv = add_noise(signal_mv, noise_mv, snr_db, beats, FS_HZ)
            for name, score in scores.items():
                _measure(name, noisy_mv, beats, score)
        for name, score in scores.items():
            _print(f"{arguments.noise} {snr_db:+d} dB", name, score)


def _electrode(arguments: argparse.Namespace) -> None:
    """Record 118 with electrode motion, as published; its source, em, is not needed."""
    for path in sorted((arguments.folder / "nstdb").glob("118e*.hea")):
        beats, signal_mv = _beats(path.with_suffix("")), _signal(path.with_suffix(""))
        for name in arguments.detectors:
            score = Score.zero()
            _measure(name, signal_mv, beats, score)
            _print(f"em, {path.stem}", name, score)


FAULTS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "nothing wrong": lambda x: x,
    "NaN, one sample": lambda x: _put(x, slice(20_000, 20_001), np.nan),
    "NaN for 0.1 s": lambda x: _put(x, slice(20_000, 20_036), np.nan),
    "NaN for 10 s": lambda x: _put(x, slice(20_000, 23_600), np.nan),
    "one infinity": lambda x: _put(x, slice(20_000, 20_001), np.inf),
    "clipped at ±0.1 mV": lambda x: np.clip(x - np.median(x, axis=1, keepdims=True), -0.1, 0.1),
    "flat line": lambda x: np.full_like(x, 0.2),
    "flat for 20 s": lambda x: _put(x, slice(20_000, 27_200), 0.2),
    "white noise": lambda x: np.random.default_rng(0).normal(0, 0.3, x.shape),
}


def _put(signal_mv: NDArray[np.float64], where: slice, value: float) -> NDArray[np.float64]:
    changed = signal_mv.copy()
    changed[:, where] = value
    return changed


def _faults(arguments: argparse.Namespace) -> None:
    """Two minutes of record 100: each detector as it is, and behind the checks of `find_r_peaks`."""
    path = arguments.folder / "mitdb" / "100"
    clean_mv, beats = _signal(path)[:, :43_200], _beats(path)
    beats = beats[beats < 43_200]
    for fault, harm in FAULTS.items():
        for name in RPEAK_DETECTORS:
            bare = _outcome(partial(DETECTORS[name], harm(clean_mv), FS_HZ), beats)
            checked = _outcome(partial(find_r_peaks, harm(clean_mv), FS_HZ, name), beats)
            print(f"{fault:24s} {name:22s}  bare: {bare:45s} checked: {checked}", flush=True)


def _outcome(detect: Callable[[], NDArray[np.int64]], beats: NDArray[np.int64]) -> str:
    try:
        found = np.unique(np.asarray(detect(), np.int64))
    except RecordError as error:
        return f"refused: {error.reason}"
    except Exception as error:  # the detector's own
        return f"raises {type(error).__name__}"
    return f"{len(found)} peaks, {len(match_r_peaks(found, beats, FS_HZ))} of {len(beats)} beats"


def _measure(name: str, signal_mv: NDArray[np.float64], beats: NDArray[np.int64], score: Score) -> None:
    started = time.process_time()
    try:
        found = np.unique(np.asarray(DETECTORS[name](signal_mv, FS_HZ), np.int64))
    except Exception as error:  # a detector that fails has found nothing
        print(f"{name} raises {type(error).__name__}: {error}", flush=True)
        found = np.zeros(0, np.int64)
    score.seconds += time.process_time() - started
    score.n_records += 1
    score.add(found, beats)


def _records(arguments: argparse.Namespace) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    for name in _names(arguments.records):
        path = arguments.folder / "mitdb" / name
        yield _signal(path), _beats(path)


def _names(which: str) -> list[str]:
    """Return record names: all, ds1 (what ours was tuned on), rest, or so many, evenly taken."""
    every = sorted(f"{DS1} {DS2} {PACED}".split())
    if which.isdigit():
        return every[:: max(len(every) // int(which), 1)][: int(which)]
    return {"all": every, "ds1": DS1.split(), "rest": sorted(f"{DS2} {PACED}".split())}[which]


def _signal(path: Path) -> NDArray[np.float64]:
    return np.ascontiguousarray(wfdb.rdrecord(str(path)).p_signal.T)


def _beats(path: Path) -> NDArray[np.int64]:
    annotation = wfdb.rdann(str(path), "atr")
    is_beat = np.isin(annotation.symbol, list(BEAT_SCHEMES["aami"]))
    return np.asarray(annotation.sample[is_beat], np.int64)


def _print(condition: str, name: str, score: Score) -> None:
    print(f"{condition:24s} {name:22s} {score}", flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds mitdb/ and nstdb/")
    parser.add_argument("part", choices=("clean", "noise", "electrode", "faults"))
    parser.add_argument("--detectors", type=lambda text: text.split(";"), default=list(DETECTORS), help="by ; between")
    parser.add_argument("--records", default="all", help="all, ds1, rest, or a number of them")
    parser.add_argument("--noise", choices=("bw", "ma", "em"), default="ma")
    parser.add_argument("--snr", type=lambda text: [int(part) for part in text.split(",")], default=list(SNRS_DB))
    return parser.parse_args()


if __name__ == "__main__":
    main()
