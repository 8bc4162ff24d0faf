"""Settings and recipes that would change nothing in a pre-training. This module needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cordstasks.errors import InputError
from cordstasks.pretraining.settings import RECIPES, PretrainSettings
from cordstasks.utils.effects import check_effects
from cordstasks.utils.settings import as_text

__all__ = ["check_recipe", "check_used"]

NEEDS: dict[str, tuple[str, Any]] = {
    "cnn_kernel_rate": ("cnn_optimiser", "muon"),
    "cnn_kernel_momentum": ("cnn_optimiser", "muon"),
    "checkpoint_steps": ("gradients", "full"),
    "settling_step": ("gradients", "equilibrium"),
    "implicit_iterates": ("gradients", "equilibrium"),
    "implicit_step": ("gradients", "equilibrium"),
    "match_penalty": ("match", "linear"),
    "match_schedule": ("match", "linear"),
    "match_settled": ("match", "nonlinear"),
    "match_relaxation": ("match", "nonlinear"),
}
"""Settings that are used only if another one has a certain value."""


def check_used(settings: PretrainSettings, given: Mapping[str, Any], recipe: str) -> None:
    """Raise an InputError if a setting of a new pre-training is given that others prevent from being used.

    Parameters
    ----------
    settings : PretrainSettings
        Of the pre-training.
    given : mapping
        What the caller chose of them.
    recipe : str
        From which the others come.

    Raises
    ------
    InputError
        See `cordstasks.utils.effects.check_effects`.
    """
    usual = PretrainSettings.of({"dataset": settings.dataset}, recipe)
    check_effects(settings, given, {name: getattr(usual, name) for name in settings.names()}, NEEDS)


def check_recipe(recipe: str, recorded: PretrainSettings, given: Mapping[str, Any], folder: Any) -> None:
    """Raise an InputError if a recipe is given for a pre-training that was begun with other numbers.

    Parameters
    ----------
    recipe : str
        A name of `cordstasks.pretraining.settings.RECIPES`.
    recorded : PretrainSettings
        Of the pre-training that was begun.
    given : mapping
        Settings that the caller chose; their agreement is checked elsewhere.
    folder : path-like
        Where it is, for messages.

    Raises
    ------
    InputError
        With the first setting that differs.
    """
    usual = PretrainSettings.of({"dataset": recorded.dataset}, recipe)
    for name in dict.fromkeys(name for numbers in RECIPES.values() for name in numbers):
        own = getattr(recorded, name)
        if name not in given and getattr(usual, name) != own:
            raise InputError(
                f"recipe={recipe}: has no effect, since the run in {folder} was begun with {name}={as_text(own)}; leave it "
                "out, or use another folder"
            )
