"""What was claimed, what was measured, and whether the two agree. This module does not need torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["AGREES", "CANNOT_TELL", "DISAGREES", "VERDICTS", "Drawing", "Finding", "Outcome", "judge"]

AGREES, DISAGREES, CANNOT_TELL = VERDICTS = "agrees", "does not agree", "cannot tell"


@dataclass(frozen=True)
class Finding:
    """One conclusion of the paper and our measurement.

    Attributes
    ----------
    claim : str
        What the paper concludes, in one sentence.
    measured : str
        What we measured, with its interval and unit.
    verdict : {"agrees", "does not agree", "cannot tell"}
        Whether the measurement agrees with the claim.
    why : str
        By which rule the verdict was reached, and what limits it.
    """

    claim: str
    measured: str
    verdict: str
    why: str


@dataclass(frozen=True)
class Drawing:
    """A figure in the folder of a part.

    Attributes
    ----------
    file : str
        Path, relative to that folder.
    caption : str
        What it shows.
    alternative : str
        What somebody who cannot see it is told.
    """

    file: str
    caption: str
    alternative: str


@dataclass(frozen=True)
class Outcome:
    """What one part of the paper gave.

    Attributes
    ----------
    findings : sequence of Finding
        One for each conclusion.
    drawings : sequence of Drawing
        Its figures.
    commands : sequence of str
        Commands that give the same numbers.
    seeds : sequence of int
        Of the runs.
    notes : sequence of str
        What a reader must know, such as sizes that are smaller than the paper's.
    """

    findings: Sequence[Finding]
    drawings: Sequence[Drawing] = ()
    commands: Sequence[str] = ()
    seeds: Sequence[int] = ()
    notes: Sequence[str] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """The outcome as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Outcome:
        """The outcome that `as_dict` gave.

        Parameters
        ----------
        content : mapping of str to object
            What it returned.

        Returns
        -------
        Outcome
            Equal to the one that was stored.
        """
        return cls(
            findings=tuple(Finding(**row) for row in content["findings"]),
            drawings=tuple(Drawing(**row) for row in content["drawings"]),
            **{name: tuple(content[name]) for name in ("commands", "seeds", "notes")},
        )


def judge(interval: Sequence[float] | None, *, above: float | None = None, below: float | None = None) -> str:
    """Whether a claim that a number lies above or below a bound agrees with the number's interval.

    Parameters
    ----------
    interval : (float, float) or None
        Lower and upper end; None if there is none.
    above, below : float, optional
        The bound; give one of them.

    Returns
    -------
    str
        ``"agrees"`` if the whole interval lies on the claimed side, ``"does not agree"`` if it lies on the other, else
        ``"cannot tell"``.
    """
    if interval is None:
        return CANNOT_TELL
    low, high = interval
    if above is not None:
        return AGREES if low > above else DISAGREES if high < above else CANNOT_TELL
    assert below is not None
    return AGREES if high < below else DISAGREES if low > below else CANNOT_TELL
