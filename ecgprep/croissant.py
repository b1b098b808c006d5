"""Croissant metadata of a store: what machines and data catalogues read.

References
----------
.. [1] MLCommons, Croissant format specification 1.0. Departure: ``datePublished`` is left out, since no file of a
   store holds a time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from store.schema import SCHEMA_VERSION, ArraySpec
from store.vocabulary import SPLIT_NAMES

CROISSANT_TERMS = (
    "citeAs column equivalentProperty extract field fileObject fileProperty fileSet format includes isLiveDataset "
    "jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source "
    "subField transform"
)
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "sc": "https://schema.org/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in CROISSANT_TERMS.split()},
}
DATA_TYPES = {"f": "sc:Float", "i": "sc:Integer", "u": "sc:Integer", "b": "sc:Boolean", "s": "sc:Text"}
LICENCE_URLS = {
    "ODC-By 1.0": "https://opendatacommons.org/licenses/by/1-0/",
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC BY-NC-SA 4.0": "https://creativecommons.org/licenses/by-nc-sa/4.0/",
}


def describe(name: str, attributes: Mapping[str, Any], specs: Sequence[ArraySpec]) -> str:
    """Return the text of ``croissant.json``: where the data come from, every array, every class and every split.

    Parameters
    ----------
    name : str
        Name of the store.
    attributes : mapping
        Attributes of the store.
    specs : sequence of ArraySpec
        Every array of the store.
    """
    databases = attributes["card"]["databases"]
    mark = "SYNTHETIC recordings, no patients. " if attributes["synthetic"] else ""
    ordered = sorted(specs, key=lambda spec: spec.path)
    labels = [spec for spec in ordered if spec.path.startswith("label/")]
    balances = dict.fromkeys(spec.path.rpartition("/")[0] for spec in ordered if "synthetic" in spec.dimensions)
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": mark + "; ".join(f"{item['title']} {item['version']}" for item in databases),
        "license": sorted({LICENCE_URLS.get(item["licence"], item["licence"]) for item in databases}),
        "citeAs": " ".join(item["citation"] for item in databases),
        "url": databases[0]["url"],
        "version": f"{SCHEMA_VERSION}.0.0",
        "distribution": [_store_files()],
        "recordSet": [
            _rows([spec for spec in ordered if spec.dimensions[0] == "row"]),
            *(
                _synthetic_rows(path, [spec for spec in ordered if spec.path.startswith(f"{path}/")])
                for path in balances
            ),
            _named_numbers("splits", "cr:Split", {value: part for value, part in SPLIT_NAMES.items() if value >= 0}),
            *(_named_numbers(_classes_of(spec), "sc:Enumeration", dict(enumerate(_classes(spec)))) for spec in labels),
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _store_files() -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": "store",
        "name": "store",
        "description": "a Zarr v3 group; MANIFEST.sha256 beside it lists every file",
        "encodingFormat": "application/vnd+zarr",
        "includes": "**/zarr.json",
    }


def _rows(specs: Sequence[ArraySpec]) -> dict[str, Any]:
    """Return the record set whose fields are the store's arrays, a value of each a row."""
    description = "one row a beat, window or record, in the order of the arrays' first axis"
    fields = [_field(spec) for spec in specs]
    return {"@type": "cr:RecordSet", "@id": "rows", "name": "rows", "description": description, "field": fields}


def _synthetic_rows(path: str, specs: Sequence[ArraySpec]) -> dict[str, Any]:
    """Return the record set of a balance, a value of each field a synthetic row."""
    description = (
        "one synthetic training row each: (1 - weight) * a + weight * b of the signals of the rows a, b = parent"
    )
    fields = [_field(spec) for spec in specs if spec.dimensions[0] == "synthetic"]
    return {"@type": "cr:RecordSet", "@id": path, "name": path, "description": description, "field": fields}


def _field(spec: ArraySpec) -> dict[str, Any]:
    field = {
        "@type": "cr:Field",
        "@id": f"rows/{spec.path}",
        "name": spec.path,
        "description": _meaning(spec),
        "dataType": DATA_TYPES[spec.dtype[0]],
        "source": {"fileSet": {"@id": "store"}, "extract": {"column": spec.path}},
    }
    if spec.path.startswith("split/") and spec.attributes["kind"] == "split":
        field["references"] = {"field": {"@id": "splits/number"}}
    if spec.path.startswith("label/") and not spec.attributes["multilabel"]:
        field["references"] = {"field": {"@id": f"{_classes_of(spec)}/number"}}
    return field


def _meaning(spec: ArraySpec) -> str:
    """Return an array's axes and type, and for labels and splits the rule that made them and what leaks."""
    said = [f"{' × '.join(spec.dimensions)} {spec.dtype}", spec.attributes.get("rule", "")]
    if spec.path.startswith("split/"):
        leaks = spec.attributes["leaks"]
        said.append(f"leaks: {', '.join(leaks)}; {spec.attributes['leak_note']}" if leaks else "leaks nothing")
    return "; ".join(part for part in said if part)


def _classes_of(spec: ArraySpec) -> str:
    return f"classes-{spec.path.removeprefix('label/')}"


def _classes(spec: ArraySpec) -> Sequence[str]:
    classes: Sequence[str] = spec.attributes["classes"]
    return classes


def _named_numbers(name: str, kind: str, meaning: Mapping[int, str]) -> dict[str, Any]:
    """Return a record set that says what the numbers of an array stand for."""
    number, word = f"{name}/number", f"{name}/name"
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "dataType": kind,
        "key": {"@id": number},
        "field": [
            {"@type": "cr:Field", "@id": number, "name": number, "dataType": "sc:Integer"},
            {"@type": "cr:Field", "@id": word, "name": word, "dataType": "sc:Text"},
        ],
        "data": [{number: value, word: said} for value, said in meaning.items()],
    }
