"""How good a recording is, by its beats: how much they look alike, and which way they point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ecgprep.filters import lead_groups, pass_both_ways
from store.vocabulary import DOWNWARD_LEADS, UPWARD_LEADS, lead_key

BEAT_BAND_HZ = (1.0, 15.0)  # QRS complexes with their T waves; noise in a wider band aligns better with itself
HALF_BEAT_S = 0.2
MOST_BEATS = 10_000  # of a recording, evenly spread: a day has ten times as many
USUAL_PAUSE_S = 2.0  # of which the quality index takes no notice

BEFORE_R_S, AFTER_R_S = 0.3, 0.45
WAVE_BAND_HZ = (0.5, 35.0)
ISOELECTRIC_S = (-0.1, -0.05)  # around R: the PR segment
P_WAVE_S = (-0.22, -0.08)
QRS_S = (-0.06, 0.06)
T_WAVE_S = (0.14, 0.42)


def beat_similarity(signal_mv: NDArray[np.float64], peaks: NDArray[np.int64], fs_hz: float) -> NDArray[np.float64]:
    """Return how much the beats of each lead look alike: near 1 in a clean recording, 0 in noise.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_samples)
        Voltage, without gaps.
    peaks : ndarray of int64
        R peaks.
    fs_hz : float
        Sampling rate.

    Returns
    -------
    ndarray, shape (n_leads,)
        Median correlation of a beat (R ± 0.2 s, 1 to 15 Hz) with the median beat; 0 with fewer than three.

    References
    ----------
    .. [1] Orphanidou et al., Signal-quality indices for the electrocardiogram and photoplethysmogram, IEEE J. Biomed.
       Health Inform. 19(3):832-838, 2015: mean correlation with the mean beat. Ours takes medians, which one ectopic
       beat in three does not move, and a window that does not depend on the rate.
    """
    half = round(HALF_BEAT_S * fs_hz)
    inside = _some(peaks[(peaks >= half) & (peaks < signal_mv.shape[1] - half)])
    if len(inside) < 3:
        return np.zeros(len(signal_mv))
    similarity = np.empty(len(signal_mv))
    for leads in lead_groups(signal_mv):
        band = _band(signal_mv[leads], BEAT_BAND_HZ, fs_hz)
        beats = _unit(band[:, inside[:, None] + np.arange(-half, half + 1)])
        typical = _unit(np.median(beats, axis=1, keepdims=True))
        similarity[leads] = np.median((beats * typical).sum(axis=-1), axis=1)
    return similarity


def quality_index(signal_mv: NDArray[np.float64], peaks: NDArray[np.int64], fs_hz: float) -> float:
    """Return a recording's quality, 0 to 1: `beat_similarity`, mean of the leads, times the share of time with beats.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_samples)
        Voltage, without gaps.
    peaks : ndarray of int64
        R peaks; with fewer than three the quality is 0.
    fs_hz : float
        Sampling rate.

    References
    ----------
    .. [1] Orphanidou et al., 2015, as in `beat_similarity`, with pauses beyond 2 s in place of their limits on RR.
    .. [2] Clifford et al., Signal quality indices and data fusion for determining clinical acceptability of
       electrocardiograms, Physiol. Meas. 33:1419-1433, 2012: spectral shares and kurtosis, which on CinC2017's class
       of noisy recordings say less (docs/signals.md).
    """
    duration_s = signal_mv.shape[1] / fs_hz
    pauses_s = np.diff(np.concatenate([[0], peaks, [signal_mv.shape[1]]])) / fs_hz
    with_beats: float = 1 - float(np.maximum(pauses_s - USUAL_PAUSE_S, 0).sum()) / duration_s
    similarity = float(beat_similarity(signal_mv, peaks, fs_hz).clip(0, 1).mean())
    return with_beats * similarity


def find_inverted(
    signal_mv: NDArray[np.float64], leads: Sequence[str], peaks: NDArray[np.int64], fs_hz: float
) -> NDArray[np.bool_]:
    """Tell which leads were recorded upside down.

    In the median beat QRS complex, T wave and P wave all point against the direction that the lead has in nearly every
    heart: up in I, II, V4 to V6 and the single leads of hand-held and patch recorders, down in aVR. One wave alone does
    not count, since disease turns each of them. Other leads point either way in health, and are never flagged.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_samples)
        Voltage, without gaps.
    leads : sequence of str
        Their names.
    peaks : ndarray of int64
        R peaks.
    fs_hz : float
        Sampling rate.

    Returns
    -------
    ndarray of bool, shape (n_leads,)
    """
    before, after = round(BEFORE_R_S * fs_hz), round(AFTER_R_S * fs_hz)
    inside = _some(peaks[(peaks >= before) & (peaks < signal_mv.shape[1] - after)])
    if len(inside) < 3:
        return np.zeros(len(signal_mv), bool)
    beat = np.empty((len(signal_mv), before + after))
    for group in lead_groups(signal_mv):
        band = _band(signal_mv[group], WAVE_BAND_HZ, fs_hz)
        beat[group] = np.median(band[:, inside[:, None] + np.arange(-before, after)], axis=1)

    def part(limits_s: tuple[float, float]) -> NDArray[np.float64]:
        return beat[:, before + round(limits_s[0] * fs_hz) : before + round(limits_s[1] * fs_hz)]

    level = np.median(part(ISOELECTRIC_S), axis=1)
    qrs = part(QRS_S).max(axis=1) + part(QRS_S).min(axis=1) - 2 * level
    waves = np.stack([qrs, part(T_WAVE_S).mean(axis=1) - level, part(P_WAVE_S).mean(axis=1) - level])
    usual = np.array([_usual_direction(lead) for lead in leads])
    inverted: NDArray[np.bool_] = (waves * usual < 0).all(axis=0)
    return inverted


def _usual_direction(lead: str) -> int:
    key = lead_key(lead)
    return int(key in map(lead_key, UPWARD_LEADS)) - int(key in map(lead_key, DOWNWARD_LEADS))


def _some(peaks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return at most `MOST_BEATS` peaks, evenly spread."""
    return peaks[:: -(-len(peaks) // MOST_BEATS) or 1]


def _band(signal_mv: NDArray[np.float64], limits_hz: tuple[float, float], fs_hz: float) -> NDArray[np.float64]:
    low_hz, high_hz = limits_hz
    return pass_both_ways(signal_mv, fs_hz, 2, (low_hz, min(high_hz, 0.4 * fs_hz)))


def _unit(waves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return waves without their mean, of norm 1; a flat one is 0."""
    centred = waves - waves.mean(axis=-1, keepdims=True)
    norm = np.linalg.norm(centred, axis=-1, keepdims=True)
    unit: NDArray[np.float64] = centred / np.where(norm > 0, norm, 1)
    return unit
