"""The environments' names for `gymnasium.make`.

Gymnasium finds an installed cordstasks through the entry point group ``gymnasium.envs``, and calls `register` at every
``import gymnasium``; so this module imports neither torch nor neurogym. In a checkout that is not installed, call
``cordstasks.tasks.register()`` before ``gymnasium.make``.
"""

from __future__ import annotations

from cordstasks.tasks import registry


def environments(*, abstract: bool) -> dict[str, str]:
    """The environments of this package's tasks, each of which names its own.

    Parameters
    ----------
    abstract : bool
        Of the abstract tasks, or else of the visual ones.

    Returns
    -------
    dict of str to str
        Where the class of each is, by the environment's id.
    """
    names, module = (registry.abstract_names(), "abstract") if abstract else (registry.names(), "visual")
    tasks = [registry.task_class(name) for name in names]
    return {
        f"cordstasks/{task.environment}-v0": f"cordstasks.tasks.environments.{module}:{task.environment}Env"
        for task in tasks
        if task.environment is not None and task.__module__.startswith("cordstasks.")
    }


def register() -> None:
    """Make the environments known to Gymnasium; calling it again does nothing."""
    # Gymnasium is imported here and not above: its import loads this module through the entry point, and would find it
    # half imported, without `register`, if the import of this module were what started it.
    from gymnasium.envs import registration

    for name, place in {**environments(abstract=False), **environments(abstract=True)}.items():
        if name not in registration.registry:
            # Without Gymnasium's two wrappers, `new_trial`, `ob` and `gt` are at hand, as neurogym.Dataset needs them;
            # the environment itself refuses a wrong action, and a step before the first reset.
            registration.register(name, entry_point=place, order_enforce=False, disable_env_checker=True)
