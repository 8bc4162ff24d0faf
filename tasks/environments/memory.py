"""The environments of the tasks that need a memory: numerosity, cat/dog and memory-guided saccades."""

from __future__ import annotations

from typing import Any, ClassVar

from cordstasks.tasks.environments.visual import NamedEnvironment


class Numerosity(NamedEnvironment):
    """Delayed match to numerosity (Nieder, Freedman & Miller 2002), from the pixels.

    **Description.** A sample of dots, a delay, a test: release the lever if both have the same number.
    `cordstasks.tasks.NumerosityTask` has the details.

    **Observations.** uint8 (height, width, 3): the screen at time ``step * dt``.

    **Actions.** 0 fixate and hold the lever, 1 release it. With ``two_choices=True``: 0 fixate, 1 match, 2 nonmatch.

    **Rewards.** -0.1 a step for releasing before the test (with ``abort=True`` that also ends the trial); from then on a
    release ends the trial, with 1 in a test that matches and 0 elsewhere; 0 for none by the end of the trial, or 1 where
    no test matched (a nonmatch without a second test).

    **Trial timing.** 500 ms of fixation, 800 ms of sample, 1000 ms of delay, 1200 ms of test; if that does not match,
    1200 ms of a second test that does.

    **Conditions.** ``new_trial(match=1, number=3, control="equal_area")``, also ``test`` and ``test_control``, or the same
    in ``reset(options={"conditions": {...}})``; what is left open is balanced in blocks.

    **References.** Nieder, Freedman & Miller 2002, Science 297: 1708-1711.

    Parameters
    ----------
    dt, rewards, abort, render_mode : see `cordstasks.tasks.environments.visual.VisualEnvironment`.
    **task_parameters : see `cordstasks.tasks.NumerosityTask`.

    Raises
    ------
    InputError
        If a parameter is unknown or out of range.
    """

    task_id: ClassVar[str] = "numerosity"
    metadata: dict[str, Any] = {  # noqa: RUF012 - as of every Gymnasium environment
        **NamedEnvironment.metadata,
        "paper_name": "Representation of the quantity of visual items in the primate prefrontal cortex",
        "paper_link": "https://doi.org/10.1126/science.1072493",
        "tags": ["perceptual", "working memory", "go-no-go", "supervised"],
    }


class CatDog(NamedEnvironment):
    """Delayed match to category (Freedman, Riesenhuber, Poggio & Miller 2001), from the pixels.

    **Description.** A sample, a delay, a test: release the lever if both are cats, or both dogs.
    `cordstasks.tasks.CatDogTask` has the details.

    **Observations.** uint8 (height, width, 3): the screen at time ``step * dt``.

    **Actions.** 0 fixate and hold the lever, 1 release it. With ``two_choices=True``: 0 fixate, 1 match, 2 nonmatch.

    **Rewards.** -0.1 a step for releasing before the test (with ``abort=True`` that also ends the trial); from then on a
    release ends the trial, with 1 in a test that matches and 0 elsewhere; 0 for none by the end of the trial, or 1 where
    no test matched (a nonmatch without a second test).

    **Trial timing.** 500 ms of fixation, 600 ms of sample, 1000 ms of delay, 600 ms of test; if that does not match, a
    second delay of 600 ms and 600 ms of a second test that does.

    **Conditions.** ``new_trial(match=0, line="tabby-hound", morph=0.4)``, also ``test_line`` and ``test_morph``, or the
    same in ``reset(options={"conditions": {...}})``; what is left open is balanced in blocks.

    **References.** Freedman, Riesenhuber, Poggio & Miller 2001, Science 291: 312-316.

    Parameters
    ----------
    dt, rewards, abort, render_mode : see `cordstasks.tasks.environments.visual.VisualEnvironment`.
    **task_parameters : see `cordstasks.tasks.CatDogTask`.

    Raises
    ------
    InputError
        If a parameter is unknown or out of range.
    """

    task_id: ClassVar[str] = "catdog"
    metadata: dict[str, Any] = {  # noqa: RUF012 - as above
        **NamedEnvironment.metadata,
        "paper_name": "Categorical representation of visual stimuli in the primate prefrontal cortex",
        "paper_link": "https://doi.org/10.1126/science.291.5502.312",
        "tags": ["perceptual", "working memory", "go-no-go", "supervised"],
    }


class MemorySaccade(NamedEnvironment):
    """Memory-guided saccades (Funahashi, Bruce & Goldman-Rakic 1989), from the pixels.

    **Description.** A cue appears for a moment; look at where it was when, after a delay, the fixation spot goes off.
    `cordstasks.tasks.MemorySaccadeTask` has the details.

    **Observations.** uint8 (height, width, 3): the screen at time ``step * dt``.

    **Actions.** 0 fixate, then one for each place: 1 is 0 deg (rightward), 2 is 45 deg, and so on.

    **Rewards.** -0.1 a step for not fixating too early (with ``abort=True`` that also ends the trial), 1 for the right
    place and 0 for a wrong one, either of which ends the trial, and 0 for none.

    **Trial timing.** 750 ms of fixation, 500 ms of cue, 1500, 3000 or 6000 ms of delay, and 500 ms in which to respond,
    with the fixation spot off.

    **Conditions.** ``new_trial(place=90, delay=1500)``, or the same in ``reset(options={"conditions": {...}})``; what is
    left open is balanced in blocks.

    **References.** Funahashi, Bruce & Goldman-Rakic 1989, J. Neurophysiol. 61: 331-349.

    Parameters
    ----------
    dt, rewards, abort, render_mode : see `cordstasks.tasks.environments.visual.VisualEnvironment`.
    **task_parameters : see `cordstasks.tasks.MemorySaccadeTask`.

    Raises
    ------
    InputError
        If a parameter is unknown or out of range.
    """

    task_id: ClassVar[str] = "saccade"
    metadata: dict[str, Any] = {  # noqa: RUF012 - as above
        **NamedEnvironment.metadata,
        "paper_name": "Mnemonic coding of visual space in the monkey's dorsolateral prefrontal cortex",
        "paper_link": "https://doi.org/10.1152/jn.1989.61.2.331",
        "tags": ["perceptual", "working memory", "n-alternative", "supervised"],
    }
