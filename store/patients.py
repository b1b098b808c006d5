"""Part of a database by its patients: a share or a range, the same one for download, build and training.

Shares are nested: the patients of 1 % are among those of 10 %, these among those of 20 %. A patient goes by the place
in the database's list of patients; what decides is a hash of that number, so that it never changes.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from store.errors import UserError

NUMBER_COLUMN, SHARE_COLUMN = "patient_number", "patient_share"


def patient_shares(n_patients: int) -> NDArray[np.float64]:
    """Return the share of a database beyond which it holds each patient; from 0 in steps of one patient.

    Parameters
    ----------
    n_patients : int
        Patients of the whole database.
    """
    digests = [hashlib.sha256(str(number).encode()).digest() for number in range(n_patients)]
    order = sorted(range(n_patients), key=digests.__getitem__)
    shares = np.empty(n_patients)
    shares[order] = np.arange(n_patients) / max(n_patients, 1)
    return shares


def choose_patients(which: str, n_patients: int) -> NDArray[np.int64]:
    """Return the numbers of the patients that a share or a range names, ascending.

    Parameters
    ----------
    which : str
        Such as ``10%``, which is ⌈0.1 n⌉ patients, or ``0-99``.
    n_patients : int
        Patients of the whole database.

    Raises
    ------
    UserError
        If it is neither a share nor a range.
    """
    return np.flatnonzero(is_chosen(which, np.arange(n_patients), patient_shares(n_patients)))


def is_chosen(which: str, number: NDArray[np.int64], share: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell of each row whether its patient is in a share or a range.

    Parameters
    ----------
    which : str
        Such as ``10%`` or ``0-99``.
    number : ndarray of int64
        Place of each row's patient in the database's list: a store's column `NUMBER_COLUMN`.
    share : ndarray of float64
        `patient_shares` of it: a store's column `SHARE_COLUMN`.

    Raises
    ------
    UserError
        If it is neither a share nor a range.
    """
    text = which.strip()
    first, dash, last = text.partition("-")
    try:
        if text.endswith("%") and 0 < float(text[:-1]) <= 100:
            return np.asarray(share < float(text[:-1]) / 100)
        if dash and 0 <= int(first) <= int(last):
            return np.asarray((number >= int(first)) & (number <= int(last)))
    except ValueError:
        pass
    raise UserError(f"--patients {which}: write a share such as 10%, or a range such as 0-99")
