"""Export to rsatoolbox, which has what is not here: flexible models, noise normalisation, inference over subjects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from cordstasks.analysis._checks import real_array
from cordstasks.errors import InputError


def to_rsatoolbox(
    dissimilarities: ArrayLike,
    *,
    metric: str = "correlation",
    stimuli: Sequence[str] | None = None,
    times: Sequence[float] | None = None,
) -> Any:
    """Dissimilarities as an ``rsatoolbox.rdm.RDMs``.

    Parameters
    ----------
    dissimilarities : (time, pair)
        As from `dissimilarities`.
    metric : str
        The name of the measure.
    stimuli : sequence of str, optional
        Names of the stimuli.
    times : sequence of float, optional
        Time of each row in ms.

    Returns
    -------
    rsatoolbox.rdm.RDMs

    Raises
    ------
    InputError
        If rsatoolbox is not installed, or names or times do not fit.
    """
    rows = real_array("dissimilarities", dissimilarities, ("time", "pair"))
    if times is not None and len(times) != len(rows):
        raise InputError(f"times has {len(times)} entries for {len(rows)} rows; give one for each")
    number = round((1 + (1 + 8 * rows.shape[1]) ** 0.5) / 2)
    if stimuli is not None and len(stimuli) != number:
        raise InputError(f"stimuli has {len(stimuli)} names for {number} stimuli; give one for each")
    try:
        from rsatoolbox import rdm
    except ImportError as error:
        raise InputError("rsatoolbox is not installed: pip install 'cordstasks[rsa]'") from error
    library: Any = rdm  # it has no types
    return library.RDMs(
        rows,
        dissimilarity_measure=metric,
        rdm_descriptors=None if times is None else {"time": list(times)},
        pattern_descriptors=None if stimuli is None else {"stimulus": list(stimuli)},
    )
