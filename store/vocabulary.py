"""The field's words: leads, units, beat symbols, label schemes. Nothing else in the project spells them.

References
----------
.. [1] ANSI/AAMI EC57: Testing and reporting performance results of cardiac rhythm and ST segment measurement
   algorithms.
.. [2] PhysioNet, WFDB annotation codes.
.. [3] Wagner et al., PTB-XL, a large publicly available electrocardiography dataset, Scientific Data 7:154, 2020.
"""

from __future__ import annotations

from typing import NamedTuple

STANDARD_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

MV_PER_UNIT = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "v": 1e3, "nv": 1e-6}


SAME_LEADS = (("II", "MLII"),)  # MLII: lead II with its electrodes moved to the trunk, as ambulatory recorders have it


def lead_key(name: str) -> str:
    """Return what two spellings of one lead have in common: databases differ in case (``AVR``, ``aVR``)."""
    return name.strip().upper()


def same_leads(name: str) -> tuple[str, ...]:
    """Return the names under which databases publish a lead, its own first."""
    others = (group for group in SAME_LEADS if lead_key(name) in group)
    return (name, *(other for other in next(others, ()) if other != lead_key(name)))


class BeatSymbol(NamedTuple):
    """One annotation symbol that marks a beat, with the class that each scheme gives it."""

    symbol: str
    meaning: str
    aami: str
    aami_bxb: str


BEAT_SYMBOLS = (
    BeatSymbol("N", "normal", "N", "N"),
    BeatSymbol("L", "left bundle branch block", "N", "N"),
    BeatSymbol("R", "right bundle branch block", "N", "N"),
    BeatSymbol("B", "bundle branch block, unspecified", "N", "N"),
    BeatSymbol("e", "atrial escape", "N", "S"),
    BeatSymbol("j", "nodal (junctional) escape", "N", "S"),
    BeatSymbol("n", "supraventricular escape", "N", "S"),
    BeatSymbol("A", "atrial premature", "S", "S"),
    BeatSymbol("a", "aberrated atrial premature", "S", "S"),
    BeatSymbol("J", "nodal (junctional) premature", "S", "S"),
    BeatSymbol("S", "supraventricular premature or ectopic", "S", "S"),
    BeatSymbol("V", "premature ventricular contraction", "V", "V"),
    BeatSymbol("r", "R-on-T premature ventricular contraction", "V", "V"),
    BeatSymbol("E", "ventricular escape", "V", "V"),
    BeatSymbol("F", "fusion of ventricular and normal", "F", "F"),
    BeatSymbol("/", "paced", "Q", "Q"),
    BeatSymbol("f", "fusion of paced and normal", "Q", "Q"),
    BeatSymbol("Q", "unclassifiable", "Q", "Q"),
    BeatSymbol("?", "not classified during learning", "Q", "Q"),
)

AAMI_CLASSES = ("N", "S", "V", "F", "Q")
AAMI_SCORE_CLASSES = ("N", "S", "V", "F")
BEAT_SCHEMES = {
    "aami": {beat.symbol: beat.aami for beat in BEAT_SYMBOLS},
    "aami_bxb": {beat.symbol: beat.aami_bxb for beat in BEAT_SYMBOLS},
}

FRAME_BEAT_CLASSES = ("undefined", "normal", "PAC", "aberrated", "PVC")
FRAME_BEAT_OF = {
    **dict.fromkeys("N L R B e j n".split(), "normal"),
    **dict.fromkeys("A J S".split(), "PAC"),
    "a": "aberrated",
    **dict.fromkeys("V E r".split(), "PVC"),
    **dict.fromkeys("F / f Q ?".split(), "undefined"),
}
FRAME_RHYTHM_CLASSES = ("undefined", "end", "noise", "normal", "AFIB", "AFL")
FRAME_RHYTHM_OF = {"(N": "normal", "(AFIB": "AFIB", "(AFL": "AFL", ")": "end", "(NOISE": "noise"}
HEART_RATE_CLASSES = ("bradycardia", "normal", "tachycardia", "noise")
FRAME_SCHEMES = {
    "frame_beat": FRAME_BEAT_CLASSES,
    "frame_rhythm": FRAME_RHYTHM_CLASSES,
    "heart_rate": HEART_RATE_CLASSES,
}

SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
SUPERCLASS_STATEMENTS = {
    "NORM": ("NORM",),
    "MI": (
        *("IMI", "ASMI", "AMI", "ALMI", "LMI", "ILMI", "IPMI", "IPLMI", "PMI"),
        *("INJAS", "INJAL", "INJLA", "INJIN", "INJIL"),
    ),
    "STTC": (
        *("NDT", "NST_", "DIG", "LNGQT", "ISC_", "ISCAL", "ISCAS", "ISCAN", "ISCLA", "ISCIN", "ISCIL"),
        *("ANEUR", "EL"),
    ),
    "CD": ("LAFB", "LPFB", "IRBBB", "CRBBB", "CLBBB", "ILBBB", "IVCD", "1AVB", "2AVB", "3AVB", "WPW"),
    "HYP": ("LVH", "RVH", "SEHYP", "LAO/LAE", "RAO/RAE"),
}
SUPERCLASS_OF = {
    statement: superclass for superclass, statements in SUPERCLASS_STATEMENTS.items() for statement in statements
}

SYNTHETIC_MARK = "SYNTHETIC"  # name of the file that says so in a database's folder

TRAIN, VALIDATION, TEST, UNUSED = 0, 1, 2, -1
SPLIT_NAMES = {TRAIN: "train", VALIDATION: "validation", TEST: "test", UNUSED: "unused"}
