"""Psychophysical kernels: when fluctuations of the evidence had an effect on choices (reverse correlation)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cordstasks.analysis._checks import Booleans, Floats, count, flags, open_fraction, real_array
from cordstasks.errors import InputError

__all__ = ["PsychophysicalKernel", "psychophysical_kernel"]

_CHUNK = 100  # shuffles at once: bounds memory


@dataclass(frozen=True, eq=False)
class PsychophysicalKernel:
    """When evidence had an effect on choices, from `psychophysical_kernel`.

    Attributes
    ----------
    kernel : (time,)
        Mean evidence before one choice minus that before the other, in standard deviations over trials.
    low, high : (time,)
        The interval of the same with choices shuffled over trials.
    mean : float
        Mean of the kernel over time.
    mean_p_value : float
        Two-sided, of that mean among those of the shuffles.
    trials : int
    confidence : float
        Coverage of the interval at each time.
    """

    kernel: Floats
    low: Floats
    high: Floats
    mean: float
    mean_p_value: float
    trials: int
    confidence: float

    @property
    def outside(self) -> Booleans:
        """Times at which the kernel is outside the interval of the shuffles (time,)."""
        return (self.kernel < self.low) | (self.kernel > self.high)

    def as_dict(self) -> dict[str, Any]:
        """Return the kernel ready for JSON.

        Returns
        -------
        dict of str to object
            The attributes by name, arrays as lists, and ``fraction_of_time_outside``, the mean of `outside`.
        """
        return {
            "kernel": self.kernel.tolist(),
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "mean": self.mean,
            "mean_p_value": self.mean_p_value,
            "fraction_of_time_outside": float(self.outside.mean()),
            "trials": self.trials,
            "confidence": self.confidence,
        }


def psychophysical_kernel(
    evidence: ArrayLike,
    chose_first: ArrayLike,
    *,
    rng: np.random.Generator,
    counted: ArrayLike | None = None,
    shuffles: int = 1000,
    confidence: float = 0.95,
) -> PsychophysicalKernel:
    """Correlate choices with fluctuations of the evidence in time.

    Parameters
    ----------
    evidence : (trial, time)
        Evidence for the first choice, such as motion energy, in trials whose evidence is nothing but noise; not modified.
    chose_first : (trial,) bool
        Whether it was chosen.
    rng : numpy.random.Generator
        Draws the shuffles.
    counted : (trial, time) bool, optional
        Which evidence counts, such as that before each decision; by default all of it. At each time, the trials that count
        are compared with each other.
    shuffles : int
        How often choices are shuffled over trials.
    confidence : float
        Coverage of the interval of the shuffles, between 0 and 1.

    Returns
    -------
    PsychophysicalKernel

    Raises
    ------
    InputError
        If the lengths differ, values are not finite, all choices are the same, or there are fewer than four trials.

    Notes
    -----
    Times at which evidence does not vary, or at which no trial of one of the choices counts, have a kernel of 0.

    References
    ----------
    Neri & Heeger 2002, Nature Neuroscience 5: 812-816. Kiani, Hanks & Shadlen 2008, J. Neurosci. 28: 3017-3029.
    """
    values = real_array("evidence", evidence, ("trial", "time"))
    first = flags("chose_first", chose_first, len(values), "evidence")
    rounds, coverage = count("shuffles", shuffles, 1), open_fraction("confidence", confidence)
    if first.all() or not first.any() or len(first) < 4:
        raise InputError(f"chose_first: {int(first.sum())} of {len(first)} trials; give both choices, and four trials")
    weight = np.ones(values.shape) if counted is None else _counted(counted, values.shape).astype(np.float64)
    number = np.maximum(weight.sum(0), 1)
    centred = (values - (weight * values).sum(0) / number) * weight
    deviation = np.sqrt((centred**2).sum(0) / number)
    varies = deviation > 1e-12 * np.abs(values).max(initial=0)
    standard = np.where(varies, centred / np.where(varies, deviation, 1), 0.0)
    found = _difference(first[None], standard, weight)[0]
    null = np.concatenate(
        [
            _difference(rng.permuted(np.tile(first, (min(_CHUNK, rounds - start), 1)), axis=1), standard, weight)
            for start in range(0, rounds, _CHUNK)
        ]
    )
    low, high = np.quantile(null, [0.5 - coverage / 2, 0.5 + coverage / 2], axis=0)
    extreme = int((np.abs(null.mean(1)) >= abs(found.mean()) - 1e-12).sum())
    return PsychophysicalKernel(
        found, low, high, float(found.mean()), (1 + extreme) / (1 + rounds), len(values), float(coverage)
    )


def _counted(counted: ArrayLike, shape: tuple[int, ...]) -> Booleans:
    mask = np.asarray(counted)
    if mask.dtype != bool or mask.shape != shape:
        raise InputError(f"counted: has shape {mask.shape} and holds {mask.dtype}; give booleans of shape {shape}")
    return mask


def _difference(first: Booleans, standard: Floats, weight: Floats) -> Floats:
    """Mean (sample, time) before the first choice minus that before the other, by choices (sample, trial)."""
    chosen = first.astype(np.float64)
    trials = chosen @ weight, (1 - chosen) @ weight
    means = [part @ standard / np.maximum(n, 1) for part, n in zip((chosen, 1 - chosen), trials, strict=True)]
    return np.where((trials[0] > 0) & (trials[1] > 0), means[0] - means[1], 0.0)
