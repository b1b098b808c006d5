"""Pictures of a lead: defined once on batched arrays, for NumPy and for torch on any device."""

from ecgprep.representations.base import (
    Representation,
    RowFormat,
    dequantise,
    draw_stored,
    quantise,
    render_all,
)
from ecgprep.representations.grammar import list_representations, name_anew, parse_reps, stored_rep

__all__ = [
    "Representation",
    "RowFormat",
    "dequantise",
    "draw_stored",
    "list_representations",
    "name_anew",
    "parse_reps",
    "quantise",
    "render_all",
    "stored_rep",
]
