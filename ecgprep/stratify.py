"""Patients dealt to parts so that every class is spread as its share says, as closely as whole patients allow.

A deal is scored by the squared distance of each part's share of each class from the share that it should have, all
classes alike; the rows as a whole count as one class more, which keeps the parts' sizes. Patients are dealt one by one,
those that matter most first, then moved and exchanged while that brings the score down; the best of several orders
is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESTARTS = 8
EXCHANGED_PATIENTS = 500  # of more, moves alone spread the classes well, and exchanges would take long
WORTH = 1e-12

Shares = NDArray[np.float64]


def deal_patients(
    stratum: NDArray[np.int64], patients: NDArray[np.str_], shares: Sequence[float], seed: int
) -> NDArray[np.int64]:
    """Return the part of each row; all rows of a patient are in one.

    Parameters
    ----------
    stratum : ndarray of int64, shape (n_rows,)
        Class of each row.
    patients : ndarray of str, shape (n_rows,)
        Whose row it is. What is dealt depends on the patients' names and rows, not on the order of the rows.
    shares : sequence of float
        Share of each part; they add to 1.
    seed : int
        Seed of the orders in which equal patients are dealt.
    """
    names, of_row = np.unique(patients, return_inverse=True)
    classes, class_of_row = np.unique(stratum, return_inverse=True)
    counts = np.zeros((len(names), len(classes) + 1))
    np.add.at(counts, (of_row, class_of_row), 1)
    counts[:, -1] = counts[:, :-1].sum(axis=1)
    weights = counts / counts.sum(axis=0)
    generator = np.random.default_rng(seed)
    n_starts = RESTARTS if len(names) <= EXCHANGED_PATIENTS else 1
    deals = [_improved(weights, *_dealt(weights, np.array(shares), generator)) for _ in range(n_starts)]
    return min(deals, key=lambda deal: deal[1])[0][of_row]


def spread(stratum: NDArray[np.int64], part: NDArray[np.integer], shares: Sequence[float]) -> float:
    """Return the score of a deal: the sum over parts and classes of squared distances of shares.

    Parameters
    ----------
    stratum : ndarray of int64, shape (n_rows,)
        Class of each row.
    part : ndarray of int, shape (n_rows,)
        Part of each row.
    shares : sequence of float
        The share that each part should have.
    """
    classes, class_of_row = np.unique(stratum, return_inverse=True)
    counts = np.zeros((len(shares), len(classes) + 1))
    np.add.at(counts, (part, class_of_row), 1)
    counts[:, -1] = counts[:, :-1].sum(axis=1)
    return float((np.square(counts / counts.sum(axis=0) - np.array(shares)[:, None])).sum())


def _dealt(weights: Shares, shares: Shares, generator: np.random.Generator) -> tuple[NDArray[np.int64], Shares]:
    """Deal each patient to the part that lacks most of what it has; return parts and what each has too much."""
    surplus = np.repeat(-shares[:, None], weights.shape[1], axis=1)
    part = np.zeros(len(weights), np.int64)
    shuffled = generator.permutation(len(weights))
    for patient in shuffled[np.argsort(-weights[shuffled].max(axis=1), kind="stable")]:
        part[patient] = np.argmin(surplus @ weights[patient])
        surplus[part[patient]] += weights[patient]
    return part, surplus


def _improved(weights: Shares, part: NDArray[np.int64], surplus: Shares) -> tuple[NDArray[np.int64], float]:
    """Move and exchange patients while the score falls; return parts and score."""
    improving = True
    while improving:
        moves = [_move(weights, part, surplus, patient) for patient in range(len(weights))]
        exchanges = len(weights) <= EXCHANGED_PATIENTS and [
            _exchange(weights, part, surplus, patient) for patient in range(len(weights))
        ]
        improving = any(moves) or any(exchanges or ())
    return part, float(np.square(surplus).sum())


def _move(weights: Shares, part: NDArray[np.int64], surplus: Shares, patient: int) -> bool:
    """Move a patient to where the score falls most, if it does anywhere."""
    here, own = part[patient], weights[patient]
    gain = 2 * (surplus - surplus[here]) @ own + 2 * own @ own
    gain[here] = 0
    best = int(np.argmin(gain))
    if gain[best] > -WORTH:
        return False
    surplus[here] -= own
    surplus[best] += own
    part[patient] = best
    return True


def _exchange(weights: Shares, part: NDArray[np.int64], surplus: Shares, patient: int) -> bool:
    """Exchange a patient with the one of another part with whom the score falls most, if it does with any."""
    here = part[patient]
    change = weights - weights[patient]
    gain = 2 * np.einsum("pc,pc->p", change, surplus[here] - surplus[part]) + 2 * np.square(change).sum(axis=1)
    gain[part == here] = 0
    other = int(np.argmin(gain))
    if gain[other] > -WORTH:
        return False
    surplus[here] += change[other]
    surplus[part[other]] -= change[other]
    part[patient], part[other] = part[other], here
    return True
