"""The layouts that `ecgprep export` writes, by name."""

from collections.abc import Mapping

from ecgprep.export import Write
from ecgprep.formats.arrays import write_npy, write_pairs, write_tensors
from ecgprep.formats.parquet import write_parquet
from ecgprep.formats.wfdb import write_wfdb

FORMATS: Mapping[str, Write] = {
    "npy": write_npy,
    "pairs": write_pairs,
    "pt": write_tensors,
    "parquet": write_parquet,
    "wfdb": write_wfdb,
}
