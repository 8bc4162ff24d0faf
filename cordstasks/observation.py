"""Environments whose observations are features: the activity of an agent's visual areas."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray
from torch import Tensor

from cordstasks.errors import InputError
from cordstasks.frontend.frontend import STEP_MS, WARMUP_MS, FrontEnd
from cordstasks.stimuli import Movie
from cordstasks.tasks.environments.visual import VisualEnv
from cordstasks.tasks.visual.base import Trial

__all__ = ["FrontEndObservation"]

Vector = NDArray[np.float32]


class FrontEndObservation(gymnasium.Wrapper[Vector, Any, Any, Any], RecordConstructorArgs):
    """A visual environment seen through a front-end.

    The observation at a step of the environment is the front-end's features over that step: the mean activity of the areas
    that it reads over its own steps of 2 ms, on the frames that the screen shows within it. It is what `FrontEnd.features`
    computes for the whole trial and what a network of `cordstasks.train` is given. Each trial begins in the state that the
    front-end reaches after 200 ms of the trial's first frame.

    The front-end is deterministic: a history of frames that was seen before is looked up and not simulated again. Trials
    therefore cost little if their pictures have been seen before.

    Parameters
    ----------
    env : gymnasium.Env
        An environment of this package, or a wrapper around one that leaves frames and actions alone.
    frontend : FrontEnd, optional
        The front-end; by default a `FrontEnd` with the default weights.
    memory_mb : float, default 200.0
        How much of what was seen to remember, in MB; 0 simulates everything anew.

    Attributes
    ----------
    simulated : int
        Steps of 2 ms that were simulated so far.

    Raises
    ------
    InputError
        If the environment is not a visual one, its time step is not a multiple of 2 ms, or the memory is negative.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], frontend: FrontEnd | None = None, *, memory_mb: float = 200.0) -> None:
        if not isinstance(env.unwrapped, VisualEnv):
            raise InputError(f"env={env}: give an environment of cordstasks, whose observations are what the screen shows")
        if not memory_mb >= 0:
            raise InputError(f"memory_mb={memory_mb!r}: give a size of at least 0 (MB)")
        RecordConstructorArgs.__init__(self, _disable_deepcopy=True, frontend=frontend, memory_mb=memory_mb)
        gymnasium.Wrapper.__init__(self, env)
        self.frontend = FrontEnd(bank=False) if frontend is None else frontend
        self.bin_steps = self.frontend.bin_steps(float(env.unwrapped.dt))
        self.observation_space = Box(0, np.inf, (self.frontend.units,), np.float32)
        self.simulated = 0
        state = self.frontend.simulator.zero_state(1)
        per_history = sum(r.numel() for r in state) * 4 + 4 * self.frontend.units
        self._capacity = int(memory_mb * 1e6 / per_history)
        self._known: OrderedDict[bytes, tuple[list[Tensor], Vector]] = OrderedDict()
        self._drives: OrderedDict[bytes, list[Tensor]] = OrderedDict()
        self._trial: Trial | None = None

    @property
    def _screen(self) -> VisualEnv:
        environment = self.env.unwrapped
        assert isinstance(environment, VisualEnv)  # as was checked
        return environment

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Vector, dict[str, Any]]:
        """Begin a new trial; see `VisualEnv.reset`. The observation is float32 (unit,).

        Returns
        -------
        ndarray of shape (unit,), float32
            The first observation.
        dict
            The environment's information.
        """
        _, info = self.env.reset(seed=seed, options=options)
        self._trial = None
        return self._observation(), info

    def step(self, action: Any) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Act for one time step; see `VisualEnv.step`. The observation is float32 (unit,).

        Returns
        -------
        ndarray of shape (unit,), float32
            The next observation.
        float
            The reward.
        bool
            Whether the episode ended, which it never does.
        bool
            Whether it was cut short.
        dict
            The environment's information.
        """
        _, reward, terminated, truncated, info = self.env.step(action)
        return self._observation(), float(reward), terminated, truncated, info

    def _observation(self) -> Vector:
        """Features over the step that begins now, after the steps of this trial that were not seen yet."""
        screen = self._screen
        if screen.visual_trial is not self._trial or screen.t_ind < self._seen:
            self._begin(screen.visual_trial)
        while self._seen <= screen.t_ind:
            self._watch(screen.visual_trial.movie)
        return self._features.copy()

    def _begin(self, trial: Trial) -> None:
        """The state before a trial's first step."""
        self._trial, self._seen = trial, 0
        first = trial.movie.frames[trial.movie.at(0.0)]
        name = _digest(first)
        self._history = name
        if not self._recall():
            steps = round(WARMUP_MS / STEP_MS)
            self._state = self.frontend.simulator.spontaneous(1)
            self.frontend.simulator.step(self._state, self._driven(name, first), steps)
            self.simulated += steps
            self._features: Vector = np.zeros(self.frontend.units, np.float32)
            self._remember()

    def _watch(self, movie: Movie) -> None:
        """One more step of the environment."""
        times = (self._seen * self.bin_steps + np.arange(self.bin_steps)) * STEP_MS
        shown = movie.at(times)
        starts = [0, *(np.flatnonzero(np.diff(shown)) + 1).tolist(), self.bin_steps]
        runs = [(int(shown[a]), b - a) for a, b in zip(starts[:-1], starts[1:], strict=True)]
        names = {index: _digest(movie.frames[index]) for index, _ in runs}
        seen = b"".join(names[index] + steps.to_bytes(4, "little") for index, steps in runs)
        self._history = hashlib.blake2b(self._history + seen, digest_size=16).digest()
        self._seen += 1
        if self._recall():
            return
        state = [r.clone(memory_format=torch.preserve_format) for r in self._state]  # the remembered state must not change
        totals = [torch.zeros_like(state[area]) for area in self.frontend.areas]
        for index, steps in runs:
            drives = self._driven(names[index], movie.frames[index])
            self.frontend.simulator.step_summed(state, drives, totals, steps)
        self.simulated += self.bin_steps
        self._state = state
        self._features = self.frontend.read([total / self.bin_steps for total in totals])[0].float().cpu().numpy()
        self._remember()

    def _recall(self) -> bool:
        if self._history not in self._known:
            return False
        self._known.move_to_end(self._history)
        self._state, self._features = self._known[self._history]
        return True

    def _remember(self) -> None:
        self._known[self._history] = (self._state, self._features)
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)

    def _driven(self, name: bytes, image: NDArray[np.uint8]) -> list[Tensor]:
        """What an image adds at every step; it is kept for the last few images."""
        if name not in self._drives:
            self._drives[name] = self.frontend.simulator.drives(self.frontend.network.preprocess(image[None]))
            if len(self._drives) > 8:
                self._drives.popitem(last=False)
        self._drives.move_to_end(name)
        return self._drives[name]


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(repr(image.shape).encode() + image.tobytes(), digest_size=16).digest()
