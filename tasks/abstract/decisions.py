"""Perceptual decisions on abstract evidence: one channel, two that agree, and two of which a cue names one.

Dubreuil, Valente, Beiran, Mastrogiuseppe & Ostojic 2022, Nature Neuroscience 25: 783-794.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cordstasks.tasks.abstract.base import AbstractTask, Schedule, Values, one_of
from cordstasks.tasks.registry import register_task
from cordstasks.tasks.timing import Duration

STRENGTHS = (1.0, 2.0, 4.0)


def _signed(strengths: tuple[float, ...]) -> NDArray[np.float64]:
    return np.array([*strengths, *(-strength for strength in strengths)])


@register_task
@dataclass(frozen=True)
class PerceptualDecisionTask(AbstractTask):
    """Say whether noisy evidence is positive or negative.

    One channel shows ``scale * coherence`` plus noise; after a delay the output should be the coherence's sign.
    Dubreuil et al. 2022, Nature Neuroscience 25: 783-794.

    Parameters
    ----------
    fixation, stimulus, delay, decision : float or (float, float)
        Durations in ms, or (shortest, longest).
    strengths : tuple of float
        Absolute coherences.
    scale : float
        Input for a coherence of one.
    noise, catch : float
        See `cordstasks.tasks.AbstractTask`.
    """

    id: ClassVar[str] = "perceptual-dm"
    environment: ClassVar[str | None] = "PerceptualDecisionMaking"
    channels: ClassVar[tuple[str, ...]] = ("evidence",)
    sensory: ClassVar[int] = 1

    fixation: Duration = 100.0
    stimulus: Duration = 800.0
    delay: Duration = 100.0
    decision: Duration = 20.0
    strengths: tuple[float, ...] = STRENGTHS
    scale: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_least(scale=0)
        self._check_levels("strengths")

    @property
    def timing(self) -> dict[str, Duration]:
        """Durations of fixation, stimulus, delay and decision."""
        return {name: getattr(self, name) for name in ("fixation", "stimulus", "delay", "decision")}

    def draw(self, trials: int, rng: np.random.Generator) -> dict[str, Values]:
        """A signed ``coherence`` for each trial."""
        return {"coherence": rng.choice(_signed(self.strengths), trials)}

    def design(self) -> list[dict[str, float]]:
        """Each signed coherence."""
        return [{"coherence": float(c)} for c in _signed(self.strengths)]

    def show(self, inputs: NDArray[np.float32], conditions: Mapping[str, Values], schedule: Schedule) -> None:
        """The evidence during the stimulus."""
        schedule.add(inputs[..., 0], schedule.between("stimulus"), self.scale * conditions["coherence"])

    def target_outputs(self, conditions: Mapping[str, Values]) -> NDArray[np.float32]:
        """The sign of the coherence."""
        return np.sign(conditions["coherence"]).astype(np.float32)[:, None]


@dataclass(frozen=True)
class _TwoChannels(AbstractTask):
    """What the two tasks with two sensory and two context channels share."""

    channels: ClassVar[tuple[str, ...]] = ("visual", "auditory", "visual context", "auditory context")
    sensory: ClassVar[int] = 2

    fixation: Duration = 100.0
    context_only: Duration = 350.0
    stimulus: Duration = 800.0
    delay: Duration = 100.0
    decision: Duration = 20.0
    strengths: tuple[float, ...] = STRENGTHS
    scale: float = 0.1
    cue: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_least(scale=0, cue=0)
        self._check_levels("strengths")

    @property
    def timing(self) -> dict[str, Duration]:
        """Durations of fixation, context alone, stimulus, delay and decision."""
        return {name: getattr(self, name) for name in ("fixation", "context_only", "stimulus", "delay", "decision")}


@register_task
@dataclass(frozen=True)
class MultisensoryDecisionTask(_TwoChannels):
    """Say whether evidence in one or in two channels, which then agree, is positive or negative.

    A third of the trials are visual, auditory and both each. Context channels tell which are in use, from the end of
    fixation to the end of the stimulus. Dubreuil et al. 2022, Nature Neuroscience 25: 783-794.

    Parameters
    ----------
    fixation, context_only, stimulus, delay, decision : float or (float, float)
        Durations in ms, or (shortest, longest).
    strengths : tuple of float
        Absolute coherences, drawn for each channel independently.
    scale : float
        Input for a coherence of one.
    cue : float
        Input of a context channel in use.
    noise, catch : float
        See `cordstasks.tasks.AbstractTask`.
    """

    id: ClassVar[str] = "multisensory-dm"
    environment: ClassVar[str | None] = "MultisensoryDecisionMaking"

    def draw(self, trials: int, rng: np.random.Generator) -> dict[str, Values]:
        """``direction``, ``visual`` and ``auditory`` strength, and ``modality``: 0 visual, 1 auditory, 2 both."""
        return {
            "direction": rng.choice(np.array([1.0, -1.0]), trials),
            "visual": rng.choice(np.array(self.strengths), trials),
            "auditory": rng.choice(np.array(self.strengths), trials),
            "modality": rng.integers(0, 3, trials),
        }

    def design(self) -> list[dict[str, float]]:
        """Each direction with each strength in use; a channel not in use has the first of the strengths."""
        rows = []
        for direction, modality in product((1.0, -1.0), (0.0, 1.0, 2.0)):
            for visual, auditory in product(self.strengths, self.strengths):
                if (modality == 0 and auditory != self.strengths[0]) or (modality == 1 and visual != self.strengths[0]):
                    continue
                rows.append({"direction": direction, "visual": visual, "auditory": auditory, "modality": modality})
        return rows

    def show(self, inputs: NDArray[np.float32], conditions: Mapping[str, Values], schedule: Schedule) -> None:
        """Evidence in the channels in use, and their context."""
        stimulus, cued = schedule.between("stimulus"), schedule.between("context_only", "stimulus")
        for channel, name in enumerate(("visual", "auditory")):
            used = conditions["modality"] != 1 - channel
            evidence = self.scale * conditions["direction"] * conditions[name] * used
            schedule.add(inputs[..., channel], stimulus, evidence)
            schedule.add(inputs[..., 2 + channel], cued, self.cue * used)

    def target_outputs(self, conditions: Mapping[str, Values]) -> NDArray[np.float32]:
        """The direction."""
        return np.sign(conditions["direction"]).astype(np.float32)[:, None]

    def check(self, conditions: Mapping[str, Values]) -> None:
        """Directions are 1 and -1, modalities 0, 1 and 2."""
        one_of(conditions, "direction", (1, -1))
        one_of(conditions, "modality", (0, 1, 2))


@register_task
@dataclass(frozen=True)
class ContextualDecisionTask(_TwoChannels):
    """Say whether the evidence in the cued channel is positive or negative, whatever the other one shows.

    Both channels always show evidence, of independent signs. The cue lasts from the end of fixation to the response.
    Dubreuil et al. 2022, Nature Neuroscience 25: 783-794; the task is that of Mante et al. 2013, Nature 503: 78-84.

    Parameters
    ----------
    fixation, context_only, stimulus, delay, decision : float or (float, float)
        Durations in ms, or (shortest, longest).
    strengths : tuple of float
        Absolute coherences.
    scale : float
        Input for a coherence of one.
    cue : float
        Input of the cued context channel.
    noise, catch : float
        See `cordstasks.tasks.AbstractTask`.
    """

    id: ClassVar[str] = "contextual-dm"
    environment: ClassVar[str | None] = "ContextDecisionMaking"

    def draw(self, trials: int, rng: np.random.Generator) -> dict[str, Values]:
        """Signed ``visual`` and ``auditory`` coherences, and ``context``: 0 the visual counts, 1 the auditory."""
        signed = _signed(self.strengths)
        return {
            "visual": rng.choice(signed, trials),
            "auditory": rng.choice(signed, trials),
            "context": rng.integers(0, 2, trials),
        }

    def design(self) -> list[dict[str, float]]:
        """Each pair of signed coherences in each context."""
        signed = _signed(self.strengths).tolist()
        return [{"visual": v, "auditory": a, "context": c} for v, a, c in product(signed, signed, (0.0, 1.0))]

    def show(self, inputs: NDArray[np.float32], conditions: Mapping[str, Values], schedule: Schedule) -> None:
        """Evidence in both channels, and the cue."""
        stimulus, cued = schedule.between("stimulus"), schedule.between("context_only", "delay")
        for channel, name in enumerate(("visual", "auditory")):
            schedule.add(inputs[..., channel], stimulus, self.scale * conditions[name])
            schedule.add(inputs[..., 2 + channel], cued, self.cue * (conditions["context"] == channel))

    def target_outputs(self, conditions: Mapping[str, Values]) -> NDArray[np.float32]:
        """The sign of the cued coherence."""
        cued = np.where(conditions["context"] == 0, conditions["visual"], conditions["auditory"])
        return np.sign(cued).astype(np.float32)[:, None]

    def check(self, conditions: Mapping[str, Values]) -> None:
        """Contexts are 0 and 1."""
        one_of(conditions, "context", (0, 1))
