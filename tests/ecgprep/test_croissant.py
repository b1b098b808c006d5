"""``croissant.json`` is Croissant as MLCommons' own reader understands it, and says what a user must know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlcroissant
import pytest

from store.read import Store, open_store
from tests.ecgprep.conftest import Build

pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")  # in rdflib

ONLY_DATE_IS_MISSING = 'Property "https://schema.org/datePublished" is recommended, but does not exist.'


@pytest.fixture
def mitdb(raw: Path, build_in: Build) -> Store:
    """MIT-BIH beats with a picture, and another picture added later."""
    build_in(raw, dataset="mitdb", reps="gaf:size=16")
    return open_store(build_in(raw, dataset="mitdb", reps="cwt:size=16").place)


@pytest.fixture
def ptbxl(raw: Path, build_in: Build) -> Store:
    return open_store(build_in(raw, dataset="ptbxl").place)


@pytest.mark.parametrize("name", ["mitdb", "ptbxl"])
def test_every_build_validates(request: pytest.FixtureRequest, name: str) -> None:
    store = request.getfixturevalue(name)
    issues = mlcroissant.Dataset(jsonld=document_of(store)).metadata.ctx.issues
    assert not issues.errors
    assert [warning.split("] ")[1] for warning in issues.warnings] == [ONLY_DATE_IS_MISSING]


def test_validation_notices_what_is_missing(ptbxl: Store, tmp_path: Path) -> None:
    document = json.loads(document_of(ptbxl).read_text())
    del document["distribution"][0]["includes"]
    broken = tmp_path / "croissant.json"
    broken.write_text(json.dumps(document))
    with pytest.raises(mlcroissant.ValidationError, match="includes"):
        mlcroissant.Dataset(jsonld=broken)


def test_licence_and_citation_are_the_databases(ptbxl: Store) -> None:
    metadata = mlcroissant.Dataset(jsonld=document_of(ptbxl)).metadata
    (about,) = ptbxl.attributes["card"]["databases"]
    assert metadata.cite_as == about["citation"]
    assert metadata.license == ["https://creativecommons.org/licenses/by/4.0/"]
    assert metadata.url == about["url"]


def test_splits_say_their_rule_and_what_leaks(mitdb: Store) -> None:
    fields = fields_of(mitdb)
    for protocol in mitdb.protocols:
        split = mitdb.split(protocol)
        rule = str(mitdb.group[f"split/{protocol}"].attrs["rule"])
        assert rule in fields[f"split/{protocol}"]["description"]
        assert ("leaks nothing" in fields[f"split/{protocol}"]["description"]) == (not split.leaks)
    assert "201" in fields["split/interpatient"]["description"]
    assert fields["split/interpatient"]["references"] == {"field": {"@id": "splits/number"}}


def test_numbers_of_splits_and_classes_are_named(mitdb: Store) -> None:
    sets = {item["@id"]: item for item in json.loads(document_of(mitdb).read_text())["recordSet"]}
    assert sets["splits"]["data"] == [
        {"splits/number": 0, "splits/name": "train"},
        {"splits/number": 1, "splits/name": "validation"},
        {"splits/number": 2, "splits/name": "test"},
    ]
    names = [item["classes-aami/name"] for item in sets["classes-aami"]["data"]]
    assert tuple(names) == mitdb.label("aami").classes


def test_pictures_added_later_stand_beside_those_that_were_there(mitdb: Store) -> None:
    assert {"rep/gaf", "rep/cwt", "signal"} <= fields_of(mitdb).keys()


def document_of(store: Store) -> Path:
    return Path(store.location) / "croissant.json"


def fields_of(store: Store) -> dict[str, dict[str, Any]]:
    (rows,) = (item for item in json.loads(document_of(store).read_text())["recordSet"] if item["@id"] == "rows")
    return {field["name"]: field for field in rows["field"]}
