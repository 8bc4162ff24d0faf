"""The settings of runs of abstract tasks, which determine the trained networks, and their flags.

This module needs no torch, so that commands can check arguments at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from cordstasks import tasks
from cordstasks.errors import InputError, unknown
from cordstasks.tasks.timing import check_step
from cordstasks.training.network_settings import HOW, SIZE, NetworkSettings, seeds_of_text
from cordstasks.utils.settings import number, optional, positive, setting, several, whole

__all__ = ["ABSTRACT_QUICK", "AbstractSettings"]


@dataclass(frozen=True, kw_only=True)
class AbstractSettings(NetworkSettings):
    """Networks trained on an abstract task: Adam, clipped gradients, each network stopped by itself."""

    FAMILY: ClassVar[str] = "abstract"

    seeds: tuple[int, ...] = setting(
        several(whole(least=0), "one or more different seeds, such as 0:32", different=True),
        "one per network: 0:32 for 0 to 31, or 3, or 0,2,5; weights, trials and noise follow from it (default 0:5)",
        default=(0, 1, 2, 3, 4),
        group=SIZE,
        parse=seeds_of_text,
    )
    steps: int = setting(whole(), "largest number of batches", default=3000, group=SIZE)
    batch: int = setting(whole(), "trials per batch", default=32, group=SIZE)
    validation: int = setting(whole(), "fresh trials of each evaluation", default=256, group=SIZE)
    heldout: int = setting(whole(), "fresh trials of the test of a trained network", default=1000, group=SIZE)
    learning_rate: float = setting(positive(), "Adam's", default=2e-3, group=HOW)
    clip: float = setting(positive(), "largest norm of a network's gradient", default=1.0, group=HOW)
    evaluate_every: int = setting(whole(), "batches between evaluations", default=50, group=HOW)
    goal: float | None = setting(
        optional(number("a score of at most 1", most=1.0)),
        "score at which a network stops, or goes on to the next stage of its curriculum (default: by task)",
        default=None,
        group=HOW,
    )

    def _check_task(self) -> None:
        if not tasks.is_abstract(self.task):
            raise unknown("task", self.task, tasks.abstract_names())
        task = self.abstract_task()
        check_step(self.dt, task)
        for each in ("validation", "heldout"):
            if task.measure == "R2" and getattr(self, each) < 2:
                raise InputError(
                    f"{each}={getattr(self, each)}: R2, by which task {task.id} is scored, needs at least 2 trials"
                )

    def abstract_task(self) -> tasks.AbstractTask:
        """The task with its parameters.

        Returns
        -------
        AbstractTask
        """
        task: tasks.AbstractTask = tasks.get(self.task, **dict(self.parameters))
        return task

    @classmethod
    def new(cls, task: str, *, quick: bool = False, **given: Any) -> AbstractSettings:
        """The settings of a new run.

        Parameters
        ----------
        task : str
            Name of an abstract task.
        quick : bool
            Whether to begin from the settings of a small run instead of the defaults.
        **given
            Settings to choose instead.

        Returns
        -------
        AbstractSettings
        """
        cls.check_used(given)
        return cls(task, **{**(ABSTRACT_QUICK if quick else {}), **given})


ABSTRACT_QUICK = {"steps": 300, "heldout": 200, "validation": 100}  # what --quick changes, unless it is given
