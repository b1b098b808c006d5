"""Sets of leads and pictures by the names that the literature gives them.

``composite_fixed`` and ``fusion6`` take leads that are independent of each other: the means of limb leads that are in
use as colours carry one lead and noise, because aVR + aVL + aVF is zero and III is II − I.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ecgtrain.config import SIGNAL


@dataclass(frozen=True)
class ChannelSet:
    """Leads, and the pictures that they are read as.

    Parameters
    ----------
    leads : tuple of str
        Leads by name, in the order of the channels.
    pictures : tuple of str
        Representations whose planes are stacked; none: those that the run names.
    """

    leads: tuple[str, ...]
    pictures: tuple[str, ...] = ()


CHANNEL_SETS = {
    "lead2": ChannelSet(("II",)),
    "leads3": ChannelSet(("I", "II", "V3")),
    "leads12": ChannelSet(("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")),
    "composite_fixed": ChannelSet(("II", "V2", "V5")),
    "fusion6": ChannelSet(("II", "V2", "V5"), ("cwt", "phasogram")),
}


def leads_of(channels: Sequence[str]) -> list[str]:
    """Return leads by name, the name of a set replaced by its leads."""
    return [lead for name in channels for lead in (CHANNEL_SETS[name].leads if name in CHANNEL_SETS else (name,))]


def inputs_with(channels: Sequence[str], inputs: Sequence[str]) -> list[str]:
    """Return a run's inputs, its pictures replaced by those of a set of channels that names some."""
    pictures = [picture for name in channels if name in CHANNEL_SETS for picture in CHANNEL_SETS[name].pictures]
    if not pictures or list(inputs) == [SIGNAL]:
        return list(inputs)
    return [*(name for name in inputs if name == SIGNAL), *pictures]
