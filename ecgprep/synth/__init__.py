"""Synthetic recordings in the file layouts of public databases, for demonstrations and tests.

They are computed, come from no patient and say so: every header has a comment, every database folder a file
``SYNTHETIC``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path

from ecgprep.synth.cinc2017 import write_cinc2017
from ecgprep.synth.icentia11k import write_icentia11k
from ecgprep.synth.incartdb import write_incartdb
from ecgprep.synth.ludb import write_ludb
from ecgprep.synth.mitdb import write_mitdb
from ecgprep.synth.nstdb import write_nstdb
from ecgprep.synth.ptbdb import write_ptbdb
from ecgprep.synth.ptbxl import write_ptbxl
from ecgprep.synth.svdb import write_svdb
from store.errors import UnknownNameError, UserError

LIKE: Mapping[str, Callable[..., Path]] = {
    "cinc2017": write_cinc2017,
    "icentia11k": write_icentia11k,
    "incartdb": write_incartdb,
    "ludb": write_ludb,
    "mitdb": write_mitdb,
    "nstdb": write_nstdb,
    "ptbdb": write_ptbdb,
    "ptbxl": write_ptbxl,
    "svdb": write_svdb,
}
OPTIONS = {
    "n_minutes": ("--minutes", "length"),
    "n_records": ("--records", "number"),
    "rates": ("--fs", "rate"),
}

__all__ = [
    "LIKE",
    "write_cinc2017",
    "write_icentia11k",
    "write_incartdb",
    "write_like",
    "write_ludb",
    "write_mitdb",
    "write_nstdb",
    "write_ptbdb",
    "write_ptbxl",
    "write_svdb",
]


def write_like(
    name: str, folder: Path, *, n_minutes: float | None, n_records: int | None, seed: int, fs: int | None = None
) -> Path:
    """Write synthetic recordings in the layout of a database; None takes its default.

    Parameters
    ----------
    name : str
        A key of `LIKE`.
    folder : Path
        The folder that holds databases.
    n_minutes : float or None
        Length of each record in minutes.
    n_records : int or None
        Number of records.
    fs : int, optional
        Sampling rate in Hz, of those that a database is published at.
    seed : int
        Same seed, same bytes.

    Returns
    -------
    Path
        The database's folder.

    Raises
    ------
    UserError
        If the database's layout fixes what was asked for, or its writer refuses it.
    """
    if name not in LIKE:
        raise UnknownNameError("database to imitate", name, LIKE)
    asked = {"n_minutes": n_minutes, "n_records": n_records, "rates": None if fs is None else (fs,)}
    given = {key: value for key, value in asked.items() if value is not None}
    for key in given:
        if key not in inspect.signature(LIKE[name]).parameters:
            option, what = OPTIONS[key]
            raise UserError(f"{option}: the layout of {name} fixes the {what} of its records; leave {option} out")
    return LIKE[name](folder, seed=seed, **given)
