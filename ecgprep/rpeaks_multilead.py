"""Our R-peak detector: the slopes of all leads together, and the sequence of peaks that a heart most likely made.

1. Each lead is brought to one rate and band-passed; the RMS of its slope over a tenth of a second is high on a QRS
   complex and low elsewhere.
2. It is divided by its height on the complexes around, so that gain does not matter. The leads are averaged, each with
   a weight that grows with the distance between complexes and background: that average is the *evidence*.
3. Peaks of the evidence are candidates. Each scores by its height, and loses where it hardly stands out from the three
   seconds around it, as in noise and in ventricular flutter.
4. Among all sequences of candidates the one with the highest score is taken (dynamic programming), where intervals much
   shorter than the usual one cost, and each missing beat costs. That is refractory period and search-back in one.
5. Each beat is moved to the largest deflection of the first lead, or of the first clear one; of two that come to lie
   within the refractory period the first stays.

References
----------
.. [1] Pan, Tompkins, A real-time QRS detection algorithm, IEEE Trans. Biomed. Eng. 32(3):230-236, 1985: band-pass,
   slope and moving window. Ours sees past and future at once, so its thresholds need no learning period.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ecgprep.filters import lead_groups, pass_both_ways
from ecgprep.resample import resample

RATE_HZ = 125.0
BAND_HZ = (5.0, 18.0)
ENERGY_WINDOW_S = 0.1
BLOCK_S = 2.0
N_BLOCKS = 9
FLOOR_SHARE = 0.2  # of a lead's overall height: a pause is not scaled up until its noise looks like beats
MIN_WEIGHT, MAX_WEIGHT = 0.1, 100.0

SURE_HEIGHT = 0.35  # 1 is the usual height of a QRS complex
SURE_DISTANCE_S = 0.25
NEUTRAL_HEIGHT = 0.3  # where a candidate's score changes its sign
CANDIDATE_HEIGHT = 0.1
MAX_SCORE = 1.2
SURROUNDINGS_S = 3.0
CLEAR_CONTRAST = 3.0  # a candidate this many times as high as the median around it loses nothing
CONTRAST_COST = 2.0

REFRACTORY_S = 0.2
SHORT_SHARE = 0.6  # of the usual interval: shorter ones cost
SHORT_COST = 1.0
MISSING_COST = 0.6
MAX_COST = 4.0
N_BEFORE = 16
N_INTERVALS = 17
INTERVAL_RANGE_S = (0.3, 2.0)

CLEAR_SHARE = 0.5
REFINE_S = 0.08


def find_by_all_leads(signal_mv: NDArray[np.float64], fs_hz: float) -> NDArray[np.int64]:
    """Return the R peaks of a recording; none of one that is shorter than a QRS complex.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_samples)
        Finite voltages in any unit.
    fs_hz : float
        Sampling rate.
    """
    if signal_mv.shape[1] < ENERGY_WINDOW_S * fs_hz:
        return np.zeros(0, np.int64)
    evidence, clearness = _combine(signal_mv, fs_hz)
    beats = _choose(evidence)
    if not len(beats):
        return beats
    lead_mv = signal_mv[np.argmax(clearness >= CLEAR_SHARE * clearness.max())]
    return _refine(lead_mv, np.rint(beats * (fs_hz / RATE_HZ)).astype(np.int64), fs_hz)


def _combine(signal_mv: NDArray[np.float64], fs_hz: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the leads' average, 1 on a usual QRS complex, and how clearly each lead shows them."""
    evidence, total, clearness = np.zeros(1), np.zeros(1), []
    for leads in lead_groups(signal_mv):
        weighted, weight, clear = _weighted(_slope_energy(signal_mv[leads], fs_hz))
        evidence, total = evidence + weighted, total + weight
        clearness.append(clear)
        del weighted, weight  # of a day each takes 86 MB beside the next lead's
    return evidence / total, np.concatenate(clearness)


def _slope_energy(signal_mv: NDArray[np.float64], fs_hz: float) -> NDArray[np.float64]:
    """Return the RMS slope in the band of the QRS complex, at `RATE_HZ`."""
    from scipy.ndimage import uniform_filter1d

    level = np.median(signal_mv, axis=-1, keepdims=True)  # taken off, since phases of the filter differ in gain by 1e-4
    band = pass_both_ways(resample(signal_mv - level, fs_hz, RATE_HZ), RATE_HZ, 2, BAND_HZ)
    power = uniform_filter1d(np.gradient(band, axis=-1) ** 2, round(ENERGY_WINDOW_S * RATE_HZ), axis=-1)
    energy: NDArray[np.float64] = np.sqrt(np.maximum(power, 0))
    return energy


def _weighted(energy: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return leads of height 1 and their weights, both summed over the leads, and each lead's mean weight."""
    tiny = np.finfo(np.float64).tiny
    height = _level(energy, np.max) + tiny
    height = np.maximum(height, FLOOR_SHARE * np.median(height, axis=1, keepdims=True))
    weight = np.clip(height / (_level(energy, np.median) + tiny) - 1, MIN_WEIGHT, MAX_WEIGHT)
    weight[energy.max(axis=1) == 0] = MIN_WEIGHT
    return (weight / height * energy).sum(axis=0), weight.sum(axis=0), weight.mean(axis=1)


def _level(energy: NDArray[np.float64], measure: Callable[..., NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return a level that follows `measure` of blocks of two seconds, by its median over nine of them."""
    from scipy.ndimage import median_filter

    n_leads, n_samples = energy.shape
    width = min(round(BLOCK_S * RATE_HZ), n_samples)
    n_blocks = n_samples // width
    blocks = measure(energy[:, : n_blocks * width].reshape(n_leads, n_blocks, width), axis=-1)
    level = median_filter(blocks, (1, min(n_blocks, N_BLOCKS)), mode="reflect")
    centre = (np.arange(n_blocks) + 0.5) * width
    return np.stack([np.interp(np.arange(n_samples), centre, row) for row in level])


def _choose(evidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the samples of the evidence's peaks that are beats."""
    sure = _peaks(evidence, SURE_HEIGHT, SURE_DISTANCE_S)
    candidates = _peaks(evidence, CANDIDATE_HEIGHT, REFRACTORY_S)
    if len(sure) < 3:
        return np.asarray(sure, dtype=np.int64)
    score = np.minimum(np.log(evidence[candidates] / NEUTRAL_HEIGHT), MAX_SCORE)
    contrast = evidence[candidates] / _surroundings(evidence)[candidates]
    score += CONTRAST_COST * np.minimum(np.log(contrast / CLEAR_CONTRAST), 0)
    usual_s = np.interp(candidates, sure[1:], _usual_interval_s(sure))
    chosen = best_sequence(score, interval_costs(candidates / RATE_HZ, usual_s))
    return np.asarray(candidates[chosen], dtype=np.int64)


def _peaks(evidence: NDArray[np.float64], height: float, distance_s: float) -> NDArray[np.int64]:
    """Return the samples of the evidence's peaks, of which an end that falls on a QRS complex is one."""
    from scipy.signal import find_peaks

    peaks, _ = find_peaks(np.pad(evidence, 1), height, distance=round(distance_s * RATE_HZ))
    return np.asarray(peaks - 1, dtype=np.int64)


def _surroundings(evidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median over `SURROUNDINGS_S` around each sample, from every eighth sample."""
    from scipy.ndimage import median_filter

    few = evidence[::8]
    around = median_filter(few, min(round(SURROUNDINGS_S * RATE_HZ / 8), len(few)), mode="reflect")
    repeated: NDArray[np.float64] = np.repeat(around, 8)[: len(evidence)] + np.finfo(np.float64).tiny
    return repeated


def _usual_interval_s(peaks: NDArray[np.int64]) -> NDArray[np.float64]:
    from scipy.ndimage import median_filter

    intervals_s: NDArray[np.float64] = median_filter(np.diff(peaks) / RATE_HZ, N_INTERVALS, mode="reflect")
    return intervals_s.clip(*INTERVAL_RANGE_S)


def interval_costs(t_s: NDArray[np.float64], usual_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what it costs that one candidate follows another.

    Parameters
    ----------
    t_s : ndarray, shape (n,)
        Time of each candidate.
    usual_s : ndarray, shape (n,)
        The usual interval around each.

    Returns
    -------
    ndarray, shape (n, N_BEFORE)
        At (i, k) the cost of candidate i after candidate i − 1 − k; infinity where it cannot follow.
    """
    earlier_s = np.full((len(t_s), N_BEFORE), -np.inf)
    for k in range(min(N_BEFORE, len(t_s) - 1)):
        earlier_s[k + 1 :, k] = t_s[: -k - 1]
    interval_s = t_s[:, None] - earlier_s
    share = interval_s / usual_s[:, None]
    short = SHORT_COST * np.maximum(SHORT_SHARE / share - 1, 0)
    cost = np.minimum(np.where(share > 1, MISSING_COST * (share - 1), short), MAX_COST)
    return np.where((interval_s < REFRACTORY_S) | np.isinf(interval_s), np.inf, cost)


def best_sequence(score: NDArray[np.float64], cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the numbers of the candidates whose scores less the costs of their intervals add up to most.

    A candidate may also begin the sequence, or follow any that lies further back than `cost` reaches for `MAX_COST`.

    Parameters
    ----------
    score : ndarray, shape (n,)
        What each candidate adds.
    cost : ndarray, shape (n, N_BEFORE)
        As `interval_costs` returns it.
    """
    total: list[float] = []
    previous: list[int] = []
    far_total, far = -np.inf, -1
    for i, (own, costs) in enumerate(zip(score.tolist(), cost.tolist(), strict=True)):
        last_far = i - N_BEFORE - 1
        if last_far >= 0 and total[last_far] > far_total:
            far_total, far = total[last_far], last_far
        best, best_previous = max((0.0, -1), (far_total - MAX_COST, far))
        for k in range(min(N_BEFORE, i)):
            if total[i - 1 - k] - costs[k] > best:
                best, best_previous = total[i - 1 - k] - costs[k], i - 1 - k
        total.append(best + own)
        previous.append(best_previous)
    sequence = [int(np.argmax(total))]
    while previous[sequence[-1]] >= 0:
        sequence.append(previous[sequence[-1]])
    return np.array(sequence[::-1], dtype=np.int64)


def _refine(lead_mv: NDArray[np.float64], peaks: NDArray[np.int64], fs_hz: float) -> NDArray[np.int64]:
    """Move each peak to the largest deflection near it from the level around.

    A deflection against the usual direction counts half, so that complexes with R and S alike keep to one of them.
    """
    half, last = round(REFINE_S * fs_hz), len(lead_mv) - 1
    offset = np.arange(-half, half + 1)
    near = (peaks[:, None] + offset).clip(0, last)
    around = (peaks.clip(half, last - half)[:, None] + offset).clip(0, last)  # not an end's own value over and over
    deflection = lead_mv[near] - np.median(lead_mv[around], axis=1, keepdims=True)
    upwards = np.median(deflection.max(axis=1, initial=0) + deflection.min(axis=1, initial=0)) >= 0
    size = np.abs(deflection) * np.where((deflection > 0) == upwards, 1, 0.5)
    refined = np.unique(near[np.arange(len(peaks)), size.argmax(axis=1)])
    return refined[np.diff(refined, prepend=-len(lead_mv)) >= REFRACTORY_S * fs_hz]
