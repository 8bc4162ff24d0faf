"""An abstract task in one file: respond to one cue, withhold the response to the other.

python -m cordstasks.tasks preview examples/go_nogo.py --out previews
python -m cordstasks.train --task examples/go_nogo.py --units 50
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cordstasks.tasks import AbstractTask, Schedule, register_task
from cordstasks.tasks.timing import Duration


@register_task
@dataclass(frozen=True)
class GoNoGoTask(AbstractTask):
    """Respond after a delay if the go cue was shown, and not if the no-go cue was (Donders 1868)."""

    id: ClassVar[str] = "go-nogo"
    channels: ClassVar[tuple[str, ...]] = ("go", "no-go", "fixation")
    sensory: ClassVar[int] = 2  # the first two channels carry noise

    fixation: Duration = 200.0  # ms
    cue: Duration = 200.0
    delay: Duration = (200.0, 600.0)  # drawn anew for each trial
    response: Duration = 200.0
    strength: float = 1.0

    @property
    def actions(self) -> tuple[str, ...]:
        """To fixate is the right answer to the no-go cue."""
        return ("fixate", "go")

    @property
    def timing(self) -> dict[str, Duration]:
        """The last period is the response."""
        return {"fixation": self.fixation, "cue": self.cue, "delay": self.delay, "response": self.response}

    def design(self) -> list[dict[str, float]]:
        """Each combination of conditions; here there is one condition."""
        return [{"go": 0.0}, {"go": 1.0}]

    def draw(self, trials: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The conditions of so many trials."""
        return {"go": rng.integers(0, 2, trials)}

    def show(self, inputs: np.ndarray, conditions: Mapping[str, Any], schedule: Schedule) -> None:
        """A pulse in the channel of the cue, and the fixation input until the response."""
        for channel, shown in enumerate((conditions["go"] == 1, conditions["go"] == 0)):
            schedule.add(inputs[..., channel], schedule.between("cue"), self.strength * shown)
        schedule.add(inputs[..., 2], schedule.between("fixation", "delay"), 1.0)

    def target_outputs(self, conditions: Mapping[str, Any]) -> np.ndarray:
        """The output should be 1 for go and -1 for no-go in the response period, (trial, output)."""
        return np.where(conditions["go"] == 1, 1.0, -1.0).astype(np.float32)[:, None]

    def answers(self, conditions: Mapping[str, Any]) -> np.ndarray:
        """The right action of each trial, by its number in `actions`."""
        return (conditions["go"] == 1).astype(np.int64)
