"""The report's page: one HTML file that holds its figures and needs no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from ecgeval.block import Block
from ecgeval.passport import Number, Provenance, describe, origin
from ecgeval.tables.table import Table, format_cell
from ecgeval.tables.texts import selection_note

WEBP_PIXELS = 16_383  # of a side, at most; a longer figure stays PNG


@dataclass(frozen=True)
class Section:
    """What the page shows of one block.

    Parameters
    ----------
    block : Block
        The runs.
    tables : sequence of Table
        Its tables.
    figures : mapping of str to Path
        Caption and PNG file of each figure.
    """

    block: Block
    tables: Sequence[Table]
    figures: Mapping[str, Path]


class Origins:
    """Where the numbers of one page come from, each once: a number names its origin by an id."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def id_of(self, source: Provenance) -> str:
        """Return the id of a number's origin on the page."""
        return self._ids.setdefault(origin(source), f"origin-{len(self._ids) + 1}")

    def listed(self) -> list[tuple[str, str]]:
        """Return id and text of each origin that was asked for, in that order."""
        return [(name, text) for text, name in self._ids.items()]


def render(
    sections: Sequence[Section], leaks: Sequence[Table], store: str, created: datetime, notes: Mapping[str, Any]
) -> str:
    """Return the page.

    Parameters
    ----------
    sections : sequence of Section
        The blocks, the main one first.
    leaks : sequence of Table
        The same models under protocols that leak and that leak less.
    store : str
        The store's name, for the heading.
    created : datetime
        When the report was made.
    notes : mapping
        How it was scored: the resolved configuration and the program's version.
    """
    page: str = (
        environment()
        .get_template("report.html.j2")
        .render(
            sections=sections,
            leaks=leaks,
            store=store,
            created=f"{created:%Y-%m-%d %H:%M} UTC",
            notes=notes,
            origins=Origins(),
        )
    )
    return page


def environment() -> Environment:
    """Return the templates, with the filters and functions that they use; an unknown name in one is an error."""
    templates = Environment(
        loader=PackageLoader("ecgeval", "."),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"cell": format_cell, "inline": inline, "sentence": _sentence}
    templates.globals |= {
        "passport": describe,
        "selection_note": selection_note,
        "has_passport": _has_passport,
    }
    return templates


def inline(path: Path) -> Markup:
    """Return a figure as a data URI, its very pixels as WebP, which takes a third of the PNG's bytes.

    Parameters
    ----------
    path : Path
        The PNG.
    """
    packed = BytesIO()
    with Image.open(path) as image:
        kind = "webp" if max(image.size) <= WEBP_PIXELS else "png"
        image.convert("RGB").save(packed, kind, lossless=True)
    return Markup(f"data:image/{kind};base64,") + base64.b64encode(packed.getvalue()).decode()


def _sentence(note: str) -> str:
    """Return a note with a capital and a full stop."""
    note = note.strip()
    return f"{note[0].upper()}{note[1:]}{'' if note.endswith(('.', '!', '?')) else '.'}" if note else ""


def _has_passport(cell: object) -> bool:
    return isinstance(cell, Number)
