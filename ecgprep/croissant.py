"""Croissant metadata of a store: what machines and data catalogues read.

References
----------
.. [1] MLCommons, Croissant format specification 1.0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "sc": "https://schema.org/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "recordSet": "cr:recordSet",
    "field": "cr:field",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "citeAs": "cr:citeAs",
}
DATA_TYPES = {"f": "sc:Float", "i": "sc:Integer", "u": "sc:Integer", "b": "sc:Boolean", "s": "sc:Text"}


def describe(name: str, attributes: Mapping[str, Any], arrays: Mapping[str, tuple[Sequence[str], str]]) -> str:
    """Return the text of ``croissant.json``.

    Parameters
    ----------
    name : str
        Name of the store.
    attributes : mapping
        Attributes of the store.
    arrays : mapping
        Axis names and type of every array, by its path in the store.
    """
    databases = attributes["card"]["databases"]
    mark = "SYNTHETIC recordings, no patients. " if attributes["synthetic"] else ""
    fields = [_field(path, *arrays[path]) for path in sorted(arrays)]
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": mark + "; ".join(f"{item['title']} {item['version']}" for item in databases),
        "license": "; ".join(sorted({item["licence"] for item in databases})),
        "citeAs": " ".join(item["citation"] for item in databases),
        "url": databases[0]["url"],
        "distribution": [
            {
                "@type": "cr:FileSet",
                "@id": "store",
                "name": "store",
                "encodingFormat": "application/vnd+zarr",
                "includes": "**/zarr.json",
            }
        ],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "rows", "name": "rows", "field": fields}],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _field(path: str, axes: Sequence[str], dtype: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"rows/{path}",
        "name": path,
        "description": f"{' × '.join(axes)} {dtype}",
        "dataType": DATA_TYPES[dtype[0]],
        "source": {"fileSet": {"@id": "store"}, "extract": {"column": path}},
    }
