"""Writing synthetic records: a marked database folder that appears whole, and WFDB signal files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from store.errors import UserError
from store.vocabulary import SYNTHETIC_MARK

COMMENT = "SYNTHETIC: made by ecgprep synth; no patient was recorded"


@contextmanager
def database_folder(parent: Path, name: str, origin: str) -> Iterator[Path]:
    """Make a synthetic database's folder, which takes its place when it is finished.

    Parameters
    ----------
    parent : Path
        The folder that holds databases.
    name : str
        The database's folder in it.
    origin : str
        What made it, for the marker file.

    Yields
    ------
    Path
        The folder to write into.

    Raises
    ------
    UserError
        If the folder is there and is not marked as synthetic: real recordings are never replaced.
    """
    final, aside = parent / name, parent / f".{name}-unfinished"
    if final.exists() and not (final / SYNTHETIC_MARK).is_file():
        raise UserError(f"{final} is there and was not synthesised; name another folder")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    (aside / SYNTHETIC_MARK).write_text(
        f"{origin}\nThese recordings are computed. They come from no patient, and no figure made from them "
        "says anything about patients.\n",
        encoding="utf-8",
    )
    yield aside
    if final.exists():
        shutil.rmtree(final)
    aside.rename(final)


def write_signal(
    folder: Path,
    name: str,
    digital: NDArray[np.int64],
    leads: Sequence[str],
    *,
    fs: int,
    fmt: str,
    gain: float | Sequence[float],
    resolution_bits: int,
    zero: int | Sequence[int],
    comments: Sequence[str] = (),
    files: Sequence[str] = (),
) -> None:
    """Write one WFDB record (``.hea`` and signal files) with checksums.

    Parameters
    ----------
    folder : Path
        Where to.
    name : str
        The record's name.
    digital : ndarray of int64, shape (n_leads, n_samples)
        Counts of the converter.
    leads : sequence of str
        Names of the leads.
    fs : int
        Sampling frequency in Hz.
    fmt : str
        WFDB storage format, such as ``"212"``.
    gain : float or sequence of float
        Counts a mV, of all leads or of each.
    resolution_bits : int
        The converter's resolution.
    zero : int or sequence of int
        Its count at 0 mV, of all leads or of each.
    comments : sequence of str, optional
        Lines to write before the one that says that the record is synthetic.
    files : sequence of str, optional
        The signal file of each lead; by default ``<name>.dat`` for all.
    """
    from wfdb.io.record import Record

    n_leads, n_samples = digital.shape
    zeros = np.broadcast_to(zero, n_leads).tolist()
    record = Record(
        record_name=name,
        n_sig=n_leads,
        fs=fs,
        sig_len=n_samples,
        d_signal=np.ascontiguousarray(digital.T),
        file_name=list(files) or [f"{name}.dat"] * n_leads,
        fmt=[fmt] * n_leads,
        adc_gain=np.broadcast_to(np.asarray(gain, float), n_leads).tolist(),
        baseline=zeros,
        units=["mV"] * n_leads,
        adc_res=[resolution_bits] * n_leads,
        adc_zero=zeros,
        init_value=[int(first) for first in digital[:, 0]],
        checksum=[0] * n_leads,  # wfdb puts the right one in
        block_size=[0] * n_leads,
        sig_name=list(leads),
        comments=[*comments, COMMENT],
    )
    record.wrsamp(write_dir=str(folder))
