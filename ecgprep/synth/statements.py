"""The 71 SCP-ECG statements of PTB-XL's ``scp_statements.csv`` with their classes."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

HEADER = (
    ",description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass,Statement Category,"
    "SCP-ECG Statement Description,AHA code,aECG REFID,CDISC Code,DICOM Code\n"
)

# code | kinds: (d)iagnostic, (f)orm, (r)hythm | class | subclass | description
TABLE = """
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


@dataclass(frozen=True)
class Statement:
    """One SCP-ECG statement; a class is empty where the statement is no diagnosis."""

    code: str
    kinds: str
    diagnostic_class: str
    diagnostic_subclass: str
    description: str


STATEMENTS = tuple(Statement(*line.split("|")) for line in TABLE.strip().splitlines())


def write_statements(path: Path) -> None:
    """Write the statements with the columns of PTB-XL's table; those of other code systems stay empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(HEADER)
        writer = csv.writer(file, lineterminator="\n")
        for statement in STATEMENTS:
            kinds = ["1.0" if kind in statement.kinds else "" for kind in "dfr"]
            classes = [statement.diagnostic_class, statement.diagnostic_subclass]
            rest = ["", statement.description, "", "", "", ""]
            writer.writerow([statement.code, statement.description, *kinds, *classes, *rest])
