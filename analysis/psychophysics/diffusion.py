"""Drift-diffusion models of choices and reaction times, fitted by PyDDM (Shinn, Lam & Murray 2020, eLife 9: e56938)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cordstasks.analysis._checks import Floats, coherences, flags, real_array, same_trials
from cordstasks.errors import InputError

__all__ = ["DiffusionFit", "fit_diffusion"]

LAPSES = 0.02  # fraction of trials that the fit takes to be uniform in time, so that no trial is impossible
STEP = 0.01  # s, and of evidence: the grid on which PyDDM solves
LONGEST = 30.0  # s; PyDDM refuses longer reaction times
BOUNDS = {"drift": (0.0, 100.0), "bound": (0.1, 5.0), "non_decision": (0.0, 1.0)}


@dataclass(frozen=True)
class DiffusionFit:
    """A drift-diffusion model, from `fit_diffusion`.

    Evidence x follows ``dx = drift * coherence dt + dW`` from 0 until it reaches `bound` (right) or -`bound` (wrong).

    Attributes
    ----------
    drift : float
        Drift per unit of coherence, in 1/s with a noise of 1 per square root of a second.
    bound : float
    non_decision : float
        In ms.
    log_likelihood : float
    bic : float
        Bayesian information criterion: smaller is better.
    trials : int
        Including those that ended without an answer.
    at_bound : tuple of str
        The parameters that ended at a limit of the fit, which the trials do not determine.
    """

    drift: float
    bound: float
    non_decision: float
    log_likelihood: float
    bic: float
    trials: int
    at_bound: tuple[str, ...]

    def predict(self, coherence: ArrayLike) -> tuple[Floats, Floats]:
        """Accuracy and mean reaction time in ms at each coherence, any shape, if trials never end.

        Palmer, Huk & Shadlen 2005, J. Vision 5: 376-404, equations of the proportional-rate diffusion model.

        Parameters
        ----------
        coherence : array of any shape
            Fractions, as in the trials that were fitted.

        Returns
        -------
        accuracy : float64 array of the same shape
            Probability of a right answer.
        reaction_time : float64 array of the same shape
            Mean in ms, the non-decision time included.
        """
        rate = self.drift * np.asarray(coherence, dtype=np.float64)
        product = rate * self.bound
        accuracy = 1 / (1 + np.exp(-2 * product))
        still = np.abs(product) < 1e-6
        mean = np.where(still, self.bound**2, self.bound * np.tanh(product) / np.where(still, 1.0, rate))
        return accuracy, 1000 * mean + self.non_decision

    def as_dict(self) -> dict[str, Any]:
        """Return the fit ready for JSON.

        Returns
        -------
        dict of str to object
            The attributes by name, in their units.
        """
        return {
            "drift": self.drift,
            "bound": self.bound,
            "non_decision": self.non_decision,
            "log_likelihood": self.log_likelihood,
            "bic": self.bic,
            "trials": self.trials,
            "at_bound": list(self.at_bound),
        }


def fit_diffusion(
    coherence: ArrayLike,
    reaction_time: ArrayLike,
    correct: ArrayLike,
    *,
    undecided: ArrayLike = (),
    deadline: float | None = None,
    rng: int = 0,
) -> DiffusionFit:
    """Fit a drift-diffusion model by maximum likelihood, with PyDDM.

    Drift is proportional to coherence, the bound is constant, and 2 % of the trials are taken to be lapses, uniform in time.

    Parameters
    ----------
    coherence : (trial,)
        Fractions in [0, 1], of the trials with an answer.
    reaction_time : (trial,)
        In ms.
    correct : (trial,) bool
        Whether each answer was right.
    undecided : (trial,)
        Coherences of the trials that ended without an answer, if any.
    deadline : float, optional
        Reaction time in ms after which there is no answer; needed with `undecided`.
    rng : int
        Seed of the search.

    Returns
    -------
    DiffusionFit

    Raises
    ------
    InputError
        If PyDDM is not installed, the lengths differ, a value is not possible, no coherence is above 0, or fewer than ten
        trials have an answer.
    """
    try:
        import pyddm
    except ImportError as error:
        raise InputError("fit_diffusion needs PyDDM, which is not installed: pip install 'cordstasks[ddm]'") from error
    strength = coherences("coherence", coherence, signed=False)
    time = real_array("reaction_time", reaction_time, ("trial",)) / 1000
    same_trials("reaction_time", time, len(strength), "coherence")
    right = flags("correct", correct, len(strength), "coherence")
    late = np.atleast_1d(np.asarray(undecided, np.float64))
    if len(time) < 10 or not strength.any():
        raise InputError(f"reaction_time: {len(time)} trials, the strongest of {strength.max():g}; give ten with motion")
    if time.min() <= 0:
        raise InputError(
            f"reaction_time: the shortest is {1000 * time.min():g} ms, and the model has none of 0; add a non-decision time"
        )
    if time.max() >= LONGEST:
        raise InputError(f"reaction_time: from {1000 * time.min():g} to {1000 * time.max():g} ms; give times in ms")
    if len(late) and deadline is None:
        raise InputError("deadline=None: give the reaction time (ms) after which the undecided trials ended")
    last = time.max() if deadline is None else max(time.max(), deadline / 1000)
    sample = pyddm.Sample(
        time[right], time[~right], len(late), coherence=(strength[right], strength[~right], *([late] if len(late) else []))
    )
    model = pyddm.gddm(
        drift=lambda drift, coherence: drift * coherence,
        noise=1.0,
        bound="bound",
        nondecision="non_decision",
        mixture_coef=LAPSES,
        parameters=BOUNDS,
        conditions=["coherence"],
        T_dur=float(np.ceil(last / STEP + 1) * STEP),
        dt=STEP,
        dx=STEP,
    )
    pyddm.set_log_level("ERROR")  # it prints a line for each of thousands of solutions
    model.fit(sample, verbose=False, lossfunction=pyddm.LossRobustLikelihood, fitparams={"seed": rng, "disp": False})
    found = model.parameters()  # by component, with PyDDM's own names of parameters
    values = {
        "drift": float(found["drift"]["drift"]),
        "bound": float(found["bound"]["B"]),
        "non_decision": float(found["overlay"]["nondectime"]),
    }
    touching = tuple(
        name for name, (low, high) in BOUNDS.items() if min(values[name] - low, high - values[name]) < 1e-3 * (high - low)
    )
    loss, trials = float(model.get_fit_result().value()), len(time) + len(late)
    return DiffusionFit(
        drift=values["drift"],
        bound=values["bound"],
        non_decision=1000 * values["non_decision"],
        log_likelihood=-loss,
        bic=len(BOUNDS) * float(np.log(trials)) + 2 * loss,
        trials=trials,
        at_bound=touching,
    )
