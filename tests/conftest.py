"""What all tests share: where real recordings are, and a Matplotlib that needs no screen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("off the clock", deadline=None)  # a busy machine fails no property
settings.load_profile("off the clock")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings; a test that wants it is skipped where it is not named."""
    folder = os.environ.get("ECG_TEST_DATA")
    if not folder:
        pytest.skip(
            "real recordings: set ECG_TEST_DATA to a folder that holds mitdb/ and ptb-xl/ as PhysioNet "
            "publishes them (https://physionet.org/content/mitdb/, https://physionet.org/content/ptb-xl/)"
        )
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"ECG_TEST_DATA names {path}, which is not a folder")
    return path
