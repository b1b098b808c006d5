"""A heart that beats as told: sums of Gaussian waves of the heart vector, seen through the usual leads.

Each wave (P, Q, R, S, ST, T) is a Gaussian in time whose height is a vector, so that a wide QRS or an
inverted T looks different in every lead, as it does in a patient.

References
----------
.. [1] McSharry PE, Clifford GD, Tarassenko L, Smith LA. A dynamical model for generating synthetic
   electrocardiogram signals. IEEE Trans Biomed Eng 50(3):289-294, 2003. Departures: the waves are placed in
   time directly, not by solving differential equations, and are vectors.
.. [2] Dower GE, Machado HB, Osborne JA. On deriving the electrocardiogram from vectorcardiographic leads.
   Clin Cardiol 3(2):87-95, 1980.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A lead's weights of the heart vector (left, down, back) [2].
LEAD_VECTORS = {
    "I": (0.632, -0.235, 0.059),
    "II": (0.235, 1.066, -0.132),
    "V1": (-0.515, 0.157, -0.917),
    "V2": (0.044, 0.164, -1.387),
    "V3": (0.882, 0.098, -1.277),
    "V4": (1.213, 0.127, -0.601),
    "V5": (1.125, 0.127, -0.086),
    "V6": (0.831, 0.076, 0.230),
}
LEAD_VECTORS["MLII"] = LEAD_VECTORS["II"]
LEAD_VECTORS |= {"Vx": (1.0, 0.0, 0.0), "Vy": (0.0, 1.0, 0.0), "Vz": (0.0, 0.0, 1.0)}  # Frank's own

REPOLARISATION_FROM_S = 0.08  # waves later than this move with the heart rate
WINDOW_WIDTHS = 4.5  # a Gaussian is drawn this many widths to either side


@dataclass(frozen=True)
class Wave:
    """One wave of a beat.

    Parameters
    ----------
    at_s : float
        Its top, in seconds after the R peak.
    width_s : float
        Its standard deviation in seconds.
    vector : tuple of float
        Its height in mV to the left, down and back.
    """

    at_s: float
    width_s: float
    vector: tuple[float, float, float]

    def times(self, left: float, down: float | None = None, back: float | None = None) -> Wave:
        """Return the wave with its vector multiplied, by one factor or by one an axis."""
        factors = (left, left if down is None else down, left if back is None else back)
        x, y, z = (height * factor for height, factor in zip(self.vector, factors, strict=True))
        return replace(self, vector=(x, y, z))

    def plus(self, left: float, down: float, back: float) -> Wave:
        """Return the wave with a vector added to its own."""
        x, y, z = self.vector
        return replace(self, vector=(x + left, y + down, z + back))


Beat = Mapping[str, Wave]

NORMAL: Beat = {
    "P": Wave(-0.160, 0.022, (0.08, 0.12, -0.02)),
    "Q": Wave(-0.026, 0.009, (-0.10, -0.04, -0.16)),
    "R": Wave(0.000, 0.012, (0.95, 0.95, 0.50)),
    "S": Wave(0.030, 0.012, (-0.15, -0.18, 0.45)),
    "ST": Wave(0.120, 0.045, (0.0, 0.0, 0.0)),
    "T": Wave(0.280, 0.045, (0.19, 0.21, -0.17)),
}


def left_bundle_branch_block(beat: Beat) -> Beat:
    """Return the beat with a wide, notched QRS to the left and back, and T against it."""
    r = beat["R"]
    return {
        **beat,
        "Q": beat["Q"].times(0.0),
        "S": beat["S"].times(0.0),
        "R": replace(r.times(0.75, 0.6, 1.4), width_s=1.9 * r.width_s),
        "R'": replace(r.times(0.75, 0.5, 1.2), at_s=0.055, width_s=2.1 * r.width_s),
        "T": beat["T"].times(-0.9, -0.6, -1.2),
    }


def right_bundle_branch_block(beat: Beat) -> Beat:
    """Return the beat with a late wave to the right and front (R' in V1, wide S in I and V6)."""
    r = beat["R"]
    late = Wave(0.068, 1.7 * r.width_s, (-0.50, -0.12, -0.80))
    return {**beat, "R'": late, "T": beat["T"].times(1.0, 0.9, -0.6)}


def without_p(beat: Beat) -> Beat:
    """Return the beat without its P wave."""
    return {name: wave for name, wave in beat.items() if name != "P"}


def with_ectopic_p(beat: Beat) -> Beat:
    """Return the beat with an early P wave that runs upwards, as from a focus low in the atria."""
    return {**beat, "P": replace(beat["P"].times(0.4, -0.9, 1.0), at_s=-0.115)}


def ventricular(direction: Sequence[float], late: float = 1.0) -> Beat:
    """Return a beat that starts in a ventricle: wide and tall, no P wave, T against the QRS.

    Parameters
    ----------
    direction : sequence of float
        The QRS's vector in mV (left, down, back).
    late : float, optional
        Factor on all durations.
    """
    x, y, z = direction
    return {
        "R": Wave(0.0, 0.036 * late, (x, y, z)),
        "S": Wave(0.085 * late, 0.030 * late, (-0.35 * x, -0.35 * y, 0.25 * z)),
        "T": Wave(0.300 * late, 0.060, (-0.42 * x, -0.42 * y, -0.42 * z)),
    }


def paced(direction: Sequence[float]) -> Beat:
    """Return a beat driven by a pacemaker: a spike, then a wide QRS."""
    return {"spike": Wave(-0.085, 0.0025, (0.5, 0.7, -0.4)), **ventricular(direction, late=1.15)}


def fusion(first: Beat, second: Beat, share: float) -> Beat:
    """Return the sum of two beats, `share` of the second and the rest of the first."""
    parts = {f"{name}, first": wave.times(1 - share) for name, wave in first.items()}
    return parts | {f"{name}, second": wave.times(share) for name, wave in second.items()}


def patient_variant(beat: Beat, rng: np.random.Generator) -> Beat:
    """Return the beat with a patient's own axis, amplitude and width of each wave."""
    turn = _small_rotation(rng)
    amplitude, width = rng.uniform(0.75, 1.3), rng.uniform(0.9, 1.15)
    varied = {}
    for name, wave in beat.items():
        x, y, z = amplitude * rng.uniform(0.85, 1.15) * (turn @ np.array(wave.vector))
        varied[name] = Wave(wave.at_s, width * wave.width_s, (float(x), float(y), float(z)))
    return varied


def _small_rotation(rng: np.random.Generator) -> Floats:
    """Return a rotation by some ten degrees about each axis."""
    a, b, c = np.radians(rng.normal(0.0, 9.0, 3))
    about_x = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    about_y = np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
    about_z = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    return np.asarray(about_x @ about_y @ about_z, dtype=np.float64)


def heart_vector(beats: Sequence[Beat], r_s: Floats, fs: float, n_samples: int, rng: np.random.Generator) -> Floats:
    """Draw beats one after another.

    Parameters
    ----------
    beats : sequence of Beat
        The beats in time order.
    r_s : ndarray, shape (n_beats,)
        The time of each R peak in seconds.
    fs : float
        Sampling frequency in Hz.
    n_samples : int
        Samples to draw; waves that run over an end are cut there.
    rng : numpy.random.Generator
        For what varies from beat to beat: 5 % of the amplitude.

    Returns
    -------
    ndarray of float64, shape (3, n_samples)
        The heart vector in mV: left, down, back.
    """
    owner = np.repeat(np.arange(len(beats)), [len(beat) for beat in beats])
    waves = [wave for beat in beats for wave in beat.values()]
    width_s = np.array([wave.width_s for wave in waves])
    gain = 1.0 + 0.05 * rng.standard_normal(len(beats))
    height = np.array([wave.vector for wave in waves]).T * gain[owner]

    centre = fs * _centres(np.array([wave.at_s for wave in waves]), r_s, owner)
    half = math.ceil(WINDOW_WIDTHS * width_s.max() * fs)
    sample = np.rint(centre).astype(np.int64)[:, None] + np.arange(-half, half + 1)
    curve = np.exp(-0.5 * ((sample - centre[:, None]) / (width_s[:, None] * fs)) ** 2)
    inside = (sample >= 0) & (sample < n_samples)
    return np.stack([np.bincount(sample[inside], (h[:, None] * curve)[inside], minlength=n_samples) for h in height])


def wave_times(wave: Wave, r_s: Floats) -> Floats:
    """Return the times in seconds of one wave's tops, for R peaks at `r_s`."""
    return _centres(np.full(len(r_s), wave.at_s), r_s, np.arange(len(r_s)))


def _centres(at_s: Floats, r_s: Floats, owner: NDArray[np.int64]) -> Floats:
    """Return the time of each wave's top; later waves go with the root of the RR interval (Bazett)."""
    rr_s = np.diff(r_s, prepend=r_s[0] - 0.8)
    stretch = np.clip(np.sqrt(rr_s / 0.8), 0.75, 1.15)[owner]
    return r_s[owner] + np.where(at_s > REPOLARISATION_FROM_S, at_s * stretch, at_s)


def leads_of(vector: Floats, names: Sequence[str]) -> Floats:
    """Return the voltage that leads see.

    Parameters
    ----------
    vector : ndarray, shape (3, n_samples)
        The heart vector in mV.
    names : sequence of str
        Keys of `LEAD_VECTORS`.

    Returns
    -------
    ndarray of float64, shape (n_leads, n_samples)
        Voltage in mV.
    """
    return np.asarray(np.array([LEAD_VECTORS[name] for name in names]) @ vector, dtype=np.float64)


def disturbance(n_leads: int, n_samples: int, fs: float, rng: np.random.Generator) -> Floats:
    """Return what the leads pick up beside the heart: breathing, slow drift, mains hum and muscle noise.

    Parameters
    ----------
    n_leads, n_samples : int
        The shape asked for.
    fs : float
        Sampling frequency in Hz.
    rng : numpy.random.Generator
        Source of the levels, phases and noise.

    Returns
    -------
    ndarray of float64, shape (n_leads, n_samples)
        Voltage in mV.
    """
    time_s = np.arange(n_samples) / fs
    level_mv = rng.uniform(0.2, 1.0, (n_leads, 1)) * np.array([[0.06, 0.08, 0.004]])
    frequency_hz = np.array([rng.uniform(0.2, 0.35), rng.uniform(0.03, 0.1), 50.0])
    phase = rng.uniform(0.0, 2.0 * np.pi, (n_leads, 3))
    slow = np.sin(2.0 * np.pi * frequency_hz[:, None] * time_s + phase[:, :, None])
    noise = rng.uniform(0.006, 0.02, (n_leads, 1)) * rng.standard_normal((n_leads, n_samples))
    return np.asarray((level_mv[:, :, None] * slow).sum(axis=1) + noise, dtype=np.float64)
