"""The settings of visual and abstract runs, which determine the trained networks, and their flags.

This module needs no torch, so that commands can check arguments at once. ``config.json`` of a run holds every setting, so
that this file alone repeats the run, even after a default has changed.
"""

from __future__ import annotations

from cordstasks.training.abstract_settings import ABSTRACT_QUICK, AbstractSettings
from cordstasks.training.network_settings import (
    ACTIVATIONS,
    CONNECTIVITIES,
    FORMS,
    MOST_SEEDS,
    ONLY_FOR,
    NetworkSettings,
    first_repeated,
    maps_for,
    seeds_of_text,
)
from cordstasks.training.visual_settings import INPUTS, INPUTS_TAUGHT, VisualSettings

__all__ = [
    "ABSTRACT_QUICK",
    "ACTIVATIONS",
    "CONNECTIVITIES",
    "FORMS",
    "INPUTS",
    "INPUTS_TAUGHT",
    "MOST_SEEDS",
    "ONLY_FOR",
    "AbstractSettings",
    "NetworkSettings",
    "VisualSettings",
    "first_repeated",
    "maps_for",
    "seeds_of_text",
]
