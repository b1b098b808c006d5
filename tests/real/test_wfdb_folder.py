"""Published databases used as plain folders of WFDB records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecgprep.build import BuildResult, build
from ecgprep.config import Prepare
from pipelines.workspace import Workspace
from store.read import open_store

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


def build_folder(folder: Path, home: Path, **section: object) -> BuildResult:
    prepare = Prepare.model_validate({"dataset": "wfdb", "workers": 0, **section})
    return build(prepare, Workspace(home), folder)


def test_nstdb_uses_what_has_beats(real_data: Path, tmp_path: Path) -> None:
    result = build_folder(real_data / "nstdb", tmp_path, unit="beat:centred186")
    assert {(item.record, item.reason) for item in result.quarantined} == {
        ("wfdb/bw", "bw.atr is missing"),
        ("wfdb/ma", "ma.atr is missing"),
    }
    store = open_store(result.place)
    assert store.leads == ("MLII", "V1")
    assert set(store.label("aami").values) >= {0, 1, 2}
    assert all(store.split(protocol).leaks for protocol in store.protocols)


def test_ptbs_records_of_15_leads_and_unequal_length(real_data: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("record,label,patient\ns0010_re,infarction,1\npatient002/s0015lre,other,2\n")
    store = open_store(build_folder(real_data / "ptbdb", tmp_path, labels=f"{tmp_path}/labels.csv", fs=500).place)
    assert len(store.leads) == 15
    assert store.column("record").tolist() == ["wfdb/patient001/s0010_re", "wfdb/patient002/s0015lre"]
    assert store.label().values.tolist() == [0, 1]
    assert store.fs_hz == 500.0


def test_ludb_by_the_annotator_of_lead_ii(real_data: Path, tmp_path: Path) -> None:
    place = tmp_path / "ludb"
    place.mkdir()
    for file in (real_data / "ludb/data").glob("1.*"):
        (place / file.name).symlink_to(file)
    store = open_store(build_folder(place, tmp_path, annotator="ii", unit="beat:c216", leads="II").place)
    tops = np.abs(np.asarray(store.signal[:, 0], dtype=float)).argmax(axis=1)
    assert np.abs(tops - 72).max() <= 10, "the annotation N marks the top of the QRS"


def test_mitdb_has_the_beats_of_its_own_adapter(real_data: Path, tmp_path: Path) -> None:
    place = tmp_path / "mitdb"
    place.mkdir()
    for name in ("100", "114", "208"):
        for suffix in (".hea", ".dat", ".atr"):
            (place / f"{name}{suffix}").symlink_to(real_data / "mitdb" / f"{name}{suffix}")
    plain = open_store(build_folder(place, tmp_path / "a", unit="beat:centred186", leads="MLII").place)
    own = open_store(build(Prepare(dataset="mitdb", workers=0), Workspace(tmp_path / "b"), tmp_path).place)
    np.testing.assert_array_equal(plain.signal[:], own.signal[:])
    np.testing.assert_array_equal(plain.label("aami").values, own.label("aami").values)
