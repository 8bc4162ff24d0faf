"""The environments' names for `gymnasium.make`.

Gymnasium finds an installed cordstasks through the entry point group ``gymnasium.envs``, and calls `register` at every
``import gymnasium``; so this module imports neither torch nor neurogym. In a checkout that is not installed, call
``cordstasks.tasks.register()`` before ``gymnasium.make``.
"""

from __future__ import annotations

ENVIRONMENTS = {
    "cordstasks/RandomDots-v0": "cordstasks.tasks.environments.visual:RandomDots",
    "cordstasks/Numerosity-v0": "cordstasks.tasks.environments.memory:Numerosity",
    "cordstasks/CatDog-v0": "cordstasks.tasks.environments.memory:CatDog",
    "cordstasks/MemorySaccade-v0": "cordstasks.tasks.environments.memory:MemorySaccade",
}
"""{id: where the class is}, of the visual tasks"""

ABSTRACT_ENVIRONMENTS = {
    f"cordstasks/{name}-v0": f"cordstasks.tasks.environments.abstract:{name}"
    for name in (
        "PerceptualDecisionMaking",
        "ParametricWorkingMemory",
        "MultisensoryDecisionMaking",
        "ContextDecisionMaking",
        "DelayedMatchToSample",
        "MemoryPro",
    )
}
"""{id: where the class is}, of the abstract tasks"""


def register() -> None:
    """Make the environments known to Gymnasium; calling it again does nothing."""
    # Gymnasium is imported here and not above: its import loads this module through the entry point, and would find it
    # half imported, without `register`, if the import of this module were what started it.
    from gymnasium.envs import registration

    for name, place in {**ENVIRONMENTS, **ABSTRACT_ENVIRONMENTS}.items():
        if name not in registration.registry:
            # Without Gymnasium's two wrappers, `new_trial`, `ob` and `gt` are at hand, as neurogym.Dataset needs them;
            # the environment itself refuses a wrong action, and a step before the first reset.
            registration.register(name, entry_point=place, order_enforce=False, disable_env_checker=True)
