"""What the superclasses of PTB-XL do to a beat: each finding is a function from a beat to a beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ecgprep.synth.heart import Beat, left_bundle_branch_block, right_bundle_branch_block


def no_change(beat: Beat) -> Beat:
    """Return the beat as it is."""
    return beat


def inferior_infarction(beat: Beat) -> Beat:
    """Return the beat with Q waves, raised ST and inverted T below (II, III, aVF)."""
    return {
        **beat,
        "Q": replace(beat["Q"].plus(0.0, -0.55, 0.0), width_s=0.014, at_s=-0.032),
        "R": beat["R"].times(1.0, 0.7, 1.0),
        "ST": beat["ST"].plus(0.0, 0.22, 0.0),
        "T": beat["T"].times(1.0, -0.9, 1.0),
    }


def anteroseptal_infarction(beat: Beat) -> Beat:
    """Return the beat with no r, raised ST and inverted T in front (V1 to V3)."""
    return {
        **beat,
        "Q": replace(beat["Q"].plus(0.05, 0.0, 0.55), width_s=0.014, at_s=-0.030),
        "ST": beat["ST"].plus(0.05, 0.0, -0.25),
        "T": beat["T"].times(0.5, 1.0, -1.2),
    }


def lowered_st(beat: Beat) -> Beat:
    """Return the beat with lowered ST to the left and below."""
    return {**beat, "ST": beat["ST"].plus(-0.16, -0.16, 0.05), "T": beat["T"].times(0.4)}


def inverted_t(beat: Beat) -> Beat:
    """Return the beat with inverted T to the left and below, with slightly lowered ST."""
    return {**beat, "ST": beat["ST"].plus(-0.08, -0.08, 0.0), "T": beat["T"].times(-1.0, -1.0, -0.5)}


def tall_left_ventricle(beat: Beat) -> Beat:
    """Return the beat with high R in V5 and V6, deep S in V1 and V2."""
    return {**beat, "R": beat["R"].times(2.3, 1.5, 2.3), "S": beat["S"].times(1.0, 1.0, 1.8)}


FINDINGS: Mapping[str, Sequence[tuple[str, Callable[[Beat], Beat]]]] = {
    "NORM": (("NORM", no_change),),
    "MI": (("IMI", inferior_infarction), ("ASMI", anteroseptal_infarction)),
    "STTC": (("ISC_", lowered_st), ("NDT", inverted_t)),
    "CD": (("CLBBB", left_bundle_branch_block), ("CRBBB", right_bundle_branch_block)),
    "HYP": (("LVH", tall_left_ventricle),),
}
