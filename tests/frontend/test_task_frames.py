"""Settled states that are copied, against simulating every step, on what each task shows and with the shipped weights."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from cordstasks import tasks
from cordstasks.frontend import FrontEnd

HALF = 2.0**-11  # largest relative rounding error of a float16
TOLERANCE = 1e-3
HONEST = 3.0  # the bound is an estimate


@pytest.fixture(scope="module")
def frontends() -> tuple[FrontEnd, FrontEnd]:
    """One that copies settled states, and one that simulates every step."""
    return FrontEnd(device="cpu", bank=False, tolerance=TOLERANCE), FrontEnd(device="cpu", bank=False, tolerance=0.0)


class TestCopiesOfSettledStates:
    SETTINGS: ClassVar[dict[str, dict[str, Any]]] = {
        "rdm": {"fixation": 300, "motion": 80},
        "numerosity": {"fixation": 100, "sample_time": 400, "delay": 600, "test": 400, "second_test": 300, "pictures": 2},
        "catdog": {"fixation": 100, "sample_time": 400, "delay": 600, "test": 400, "second_delay": 300, "second_test": 300},
        "saccade": {"fixation": 400, "cue": 400, "delays": (600, 1000), "response": 300},
    }

    @pytest.mark.slow
    @pytest.mark.parametrize("name", SETTINGS)
    def test_the_error_is_within_the_bound(self, name: str, frontends: tuple[FrontEnd, FrontEnd]):
        batch = tasks.get(name, **self.SETTINGS[name]).sample(4, seed=1)
        copied, simulated = (frontend.features(batch.movies) for frontend in frontends)
        assert copied.cost.requested == simulated.cost.requested
        assert copied.cost.simulated < (1.0 if name == "rdm" else 0.75) * simulated.cost.simulated
        assert 0 < copied.cost.bound < 2 * TOLERANCE
        assert simulated.cost.bound == 0
        ours, exact = (features.take(slice(None)).double().numpy() for features in (copied, simulated))
        size = np.linalg.norm(exact, axis=2)
        error = np.linalg.norm(ours - exact, axis=2)
        assert (error <= (HONEST * copied.cost.bound + 2 * HALF) * size).all()
        assert error.max() > 0
