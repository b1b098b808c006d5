"""Synthetic recordings in the file layouts of public databases, for demonstrations and tests.

They are computed, come from no patient and say so: every header has a comment, every database folder a file
``SYNTHETIC``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ecgprep.synth.mitdb import write_mitdb
from ecgprep.synth.ptbxl import write_ptbxl

LIKE: Mapping[str, Callable[..., Path]] = {"mitdb": write_mitdb, "ptbxl": write_ptbxl}

__all__ = ["LIKE", "write_mitdb", "write_ptbxl"]
