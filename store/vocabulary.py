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

# the direction of P, QRS and T in nearly every heart; ECG: the single lead of a hand-held or patch recorder
UPWARD_LEADS = ("I", "II", "V4", "V5", "V6", "MLII", "ECG")
DOWNWARD_LEADS = ("aVR",)

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


class Statement(NamedTuple):
    """One SCP-ECG statement of PTB-XL; `kinds` are (d)iagnostic, (f)orm and (r)hythm.

    A class is empty where the statement is no diagnosis.
    """

    code: str
    kinds: str
    superclass: str
    subclass: str
    meaning: str


_STATEMENT_TABLE = """
NDT|df|STTC|STTC|non-diagnostic T abnormalities
NST_|df|STTC|NST_|non-specific ST changes
DIG|df|STTC|STTC|digitalis effect
LNGQT|df|STTC|STTC|long QT interval
NORM|d|NORM|NORM|normal ECG
IMI|d|MI|IMI|inferior myocardial infarction
ASMI|d|MI|AMI|anteroseptal myocardial infarction
LVH|d|HYP|LVH|left ventricular hypertrophy
LAFB|d|CD|LAFB/LPFB|left anterior fascicular block
ISC_|d|STTC|ISC_|non-specific ischemia
IRBBB|d|CD|IRBBB|incomplete right bundle branch block
1AVB|d|CD|_AVB|first degree AV block
IVCD|d|CD|IVCD|non-specific intraventricular conduction disturbance
ISCAL|d|STTC|ISCA|ischemia in anterolateral leads
CRBBB|d|CD|CRBBB|complete right bundle branch block
CLBBB|d|CD|CLBBB|complete left bundle branch block
ILMI|d|MI|IMI|inferolateral myocardial infarction
LAO/LAE|d|HYP|LAO/LAE|left atrial overload or enlargement
AMI|d|MI|AMI|anterior myocardial infarction
ALMI|d|MI|AMI|anterolateral myocardial infarction
ISCIN|d|STTC|ISCI|ischemia in inferior leads
INJAS|d|MI|AMI|subendocardial injury in anteroseptal leads
LMI|d|MI|LMI|lateral myocardial infarction
ISCIL|d|STTC|ISCI|ischemia in inferolateral leads
LPFB|d|CD|LAFB/LPFB|left posterior fascicular block
ISCAS|d|STTC|ISCA|ischemia in anteroseptal leads
INJAL|d|MI|AMI|subendocardial injury in anterolateral leads
ISCLA|d|STTC|ISCA|ischemia in lateral leads
RVH|d|HYP|RVH|right ventricular hypertrophy
ANEUR|d|STTC|STTC|ST-T changes as with a ventricular aneurysm
RAO/RAE|d|HYP|RAO/RAE|right atrial overload or enlargement
EL|d|STTC|STTC|electrolyte disturbance or drug
WPW|d|CD|WPW|Wolff-Parkinson-White syndrome
ILBBB|d|CD|ILBBB|incomplete left bundle branch block
IPLMI|d|MI|IMI|inferoposterolateral myocardial infarction
ISCAN|d|STTC|ISCA|ischemia in anterior leads
IPMI|d|MI|IMI|inferoposterior myocardial infarction
SEHYP|d|HYP|SEHYP|septal hypertrophy
INJIN|d|MI|IMI|subendocardial injury in inferior leads
INJLA|d|MI|AMI|subendocardial injury in lateral leads
PMI|d|MI|PMI|posterior myocardial infarction
3AVB|d|CD|_AVB|third degree AV block
INJIL|d|MI|IMI|subendocardial injury in inferolateral leads
2AVB|d|CD|_AVB|second degree AV block
ABQRS|f|||abnormal QRS
PVC|f|||premature ventricular complex
STD_|f|||non-specific ST depression
VCLVH|f|||voltage criteria for left ventricular hypertrophy
QWAVE|f|||Q waves present
LOWT|f|||low T waves
NT_|f|||non-specific T wave changes
PAC|f|||premature atrial complex
LPR|f|||long PR interval
INVT|f|||inverted T waves
LVOLT|f|||low QRS voltage
HVOLT|f|||high QRS voltage
TAB_|f|||T wave abnormality
STE_|f|||non-specific ST elevation
PRC(S)|f|||premature complexes
SR|r|||sinus rhythm
AFIB|r|||atrial fibrillation
STACH|r|||sinus tachycardia
SARRH|r|||sinus arrhythmia
SBRAD|r|||sinus bradycardia
PACE|r|||pacemaker
SVARR|r|||supraventricular arrhythmia
BIGU|r|||bigeminy of unknown origin
AFLT|r|||atrial flutter
SVTAC|r|||supraventricular tachycardia
PSVT|r|||paroxysmal supraventricular tachycardia
TRIGU|r|||trigeminy of unknown origin
"""
STATEMENTS = tuple(Statement(*line.split("|")) for line in _STATEMENT_TABLE.strip().splitlines())

SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
STATEMENT_SCHEMES = {
    "superclass": {statement.code: statement.superclass for statement in STATEMENTS if statement.superclass},
    "subclass": {statement.code: statement.subclass for statement in STATEMENTS if statement.subclass},
    "diagnostic": {statement.code: statement.code for statement in STATEMENTS if "d" in statement.kinds},
    "form": {statement.code: statement.code for statement in STATEMENTS if "f" in statement.kinds},
    "rhythm": {statement.code: statement.code for statement in STATEMENTS if "r" in statement.kinds},
    "statements": {statement.code: statement.code for statement in STATEMENTS},
}
STATEMENT_CLASSES = {
    scheme: SUPERCLASSES if scheme == "superclass" else tuple(dict.fromkeys(class_of.values()))
    for scheme, class_of in STATEMENT_SCHEMES.items()
}

RHYTHM4_CLASSES = ("N", "A", "O", "~")  # normal, atrial fibrillation, other rhythm, noisy
RHYTHM4_SCORE_CLASSES = ("N", "A", "O")
MI_CLASSES = ("normal", "infarction")

LUDB_RHYTHMS = (
    *("Sinus rhythm", "Sinus bradycardia", "Sinus tachycardia", "Sinus arrhythmia", "Irregular sinus rhythm"),
    *("Atrial fibrillation", "Atrial flutter, typical"),
)
LUDB_AXES = ("normal", "left axis deviation", "right axis deviation", "vertical", "horizontal")
LUDB_DIAGNOSES = {  # by the column of LUDB's table
    "Conduction abnormalities": "conduction",
    "Extrasystolies": "extrasystole",
    "Hypertrophies": "hypertrophy",
    "Cardiac pacing": "pacing",
    "Ischemia": "ischemia",
    "Non-specific repolarization abnormalities": "repolarization",
    "Other states": "early repolarization",
}

SYNTHETIC_MARK = "SYNTHETIC"  # name of the file that says so in a database's folder

TRAIN, VALIDATION, TEST, UNUSED = 0, 1, 2, -1
SPLIT_NAMES = {TRAIN: "train", VALIDATION: "validation", TEST: "test", UNUSED: "unused"}
