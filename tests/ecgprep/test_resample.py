"""Resampling keeps lengths, marks, offsets and what is below the new Nyquist frequency."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgprep.resample import move_samples, resample

RATES = [(360, 125), (257, 360), (128, 360), (300, 250), (1000, 125), (500, 100), (250, 360), (1000, 500)]


@pytest.mark.parametrize(("fs_from", "fs_to"), RATES)
@pytest.mark.parametrize("n", [1, 999, 1000])
def test_length_is_rounded_up(fs_from: int, fs_to: int, n: int) -> None:
    assert resample(np.zeros((2, n)), fs_from, fs_to).shape == (2, math.ceil(n * Fraction(fs_to, fs_from)))


@given(
    rates=st.sampled_from(RATES),
    samples=st.lists(st.integers(0, 9990), min_size=1, max_size=30),  # later ones are held within the record
)
def test_marks_move_by_at_most_half_a_sample(rates: tuple[int, int], samples: list[int]) -> None:
    fs_from, fs_to = rates
    marks = np.array(samples, np.int64)
    moved = move_samples(marks, fs_from, fs_to, math.ceil(10_000 * fs_to / fs_from))
    assert moved.dtype == np.int64
    assert np.abs(moved - marks * fs_to / fs_from).max() <= 0.5 + 1e-9


def test_marks_stay_within_the_record() -> None:
    assert move_samples(np.array([-5, 9999, 20000]), 360.0, 125.0, 3473).tolist() == [0, 3472, 3472]


def test_marks_beyond_the_record_stay_there_unless_its_length_is_told() -> None:
    assert move_samples(np.array([9999, 20000]), 360.0, 125.0).tolist() == [3472, 6944]


def test_rates_that_differ_by_less_than_a_thousandth_of_a_hertz_are_equal() -> None:
    signal = np.random.default_rng(0).normal(size=(2, 100))
    np.testing.assert_array_equal(resample(signal, 250.0001, 250.0), signal)


@pytest.mark.parametrize("fs_from", [250.0004, 360.0004])
def test_marks_of_a_long_record_stay_at_what_they_mark_whatever_the_rate_is_rounded_to(fs_from: float) -> None:
    mark = 2_000_000
    signal = np.zeros(mark + 100)
    signal[mark] = 1.0
    moved = move_samples(np.array([mark]), fs_from, 250.0)
    assert abs(int(resample(signal, fs_from, 250.0).argmax()) - moved[0]) <= 1


def test_equal_rates_change_nothing() -> None:
    signal = np.random.default_rng(0).normal(size=(2, 50))
    assert resample(signal, 360.0, 360.0) is signal


@pytest.mark.parametrize(("tone_hz", "least_db"), [(75.0, 50), (80.0, 55), (200.0, 60)])
def test_tones_above_nyquist_are_removed(tone_hz: float, least_db: float) -> None:
    t_s = np.arange(20_000) / 1000
    out = resample(np.sin(2 * np.pi * tone_hz * t_s), 1000.0, 125.0)[200:-200]
    assert -20 * np.log10(out.std() / np.sqrt(0.5)) >= least_db


@pytest.mark.parametrize(("fs_from", "fs_to"), RATES)
def test_tones_of_the_ecg_are_kept_in_amplitude_and_phase(fs_from: int, fs_to: int) -> None:
    t_s = np.arange(20 * fs_from) / fs_from
    out = resample(np.sin(2 * np.pi * 10 * t_s), fs_from, fs_to)
    expected = np.sin(2 * np.pi * 10 * np.arange(len(out)) / fs_to)
    assert np.abs(out - expected)[fs_to:-fs_to].max() < 0.01


def test_offset_does_not_ring_at_the_ends() -> None:
    assert np.abs(resample(np.full(5000, 3.0), 360.0, 125.0) - 3.0).max() < 5e-4  # half a count
