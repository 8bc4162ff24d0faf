"""What `cordstasks.experiments.predictivity` reports: rows of the summary, the printed table, and figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.analysis.predictivity import Ceiling, TimeNull, median_interval
from cordstasks.experiments.predict_settings import PredictSettings
from cordstasks.recordings.recording import Recording

__all__ = ["draw", "printed", "summarised"]

Found = Mapping[int, Mapping[str, NDArray[Any]]]


def summarised(
    settings: PredictSettings, recording: Recording, notes: tuple[str, ...], ceiling: Ceiling | None, found: Found
) -> dict[str, Any]:
    """The summary: JSON values without NaN."""
    areas = [_area(settings, recording, ceiling, area, kept) for area, kept in found.items()]
    scored = [row for row in areas if row["spanning"]["median"] is not None]
    best = max(scored, key=lambda row: row["spanning"]["median"]) if scored else None
    return {
        "recording": {
            "name": recording.name,
            "stimuli": len(recording.stimuli),
            "presentations": recording.presentations,
            "units": recording.units,
            "bins_ms": recording.bins_ms.tolist(),
        },
        "notes": list(notes),
        "ceiling": None if ceiling is None else _ceiling_rows(settings, ceiling),
        "areas": areas,
        "best": None if best is None else {"area": best["area"], "median": best["spanning"]["median"]},
    }


def _ceiling_rows(settings: PredictSettings, ceiling: Ceiling) -> dict[str, Any]:
    perfect = Ceiling.of_a_perfect_model
    return {
        "stimuli": ceiling.stimuli,
        "left_out": ceiling.left_out,
        "reliability": _row(settings, ceiling.spanning),
        "spanning": _row(settings, perfect(ceiling.spanning)),
        "per_bin": [_row(settings, each) for each in perfect(ceiling.per_bin)],
    }


def _row(settings: PredictSettings, scores: NDArray[Any]) -> dict[str, Any]:
    return median_interval(scores, rng=np.random.default_rng([settings.seed, 4]))


def _relative(settings: PredictSettings, scores: NDArray[Any], reliability: NDArray[Any]) -> NDArray[Any]:
    """Scores as fractions of the ceiling; NaN for units that are not reliable enough."""
    reliable = reliability >= max(settings.least_reliability, 1e-9)
    return np.where(reliable, scores / np.sqrt(np.where(reliable, reliability, 1.0)), np.nan)


def _area(
    settings: PredictSettings, recording: Recording, ceiling: Ceiling | None, area: int, kept: Mapping[str, NDArray[Any]]
) -> dict[str, Any]:
    step = float(np.diff(recording.bins_ms[:2, 0])[0]) if len(recording.bins_ms) > 1 else 0.0
    per_bin, spanning = kept["per_bin"], kept["spanning"]
    row: dict[str, Any] = {
        "area": area,
        "features": int(kept["features"]),
        "variance_held": float(kept["held"]),
        "lag_ms": float(np.median(kept["lags"])) * step,
        "lags_ms": (kept["lags"] * step).tolist(),
        "spanning": _row(settings, spanning),
        "per_bin": [_row(settings, each) for each in per_bin],
        "bins": _row(settings, _mean(per_bin)),
        "relative": None,
        "null": None,
    }
    if ceiling is not None:
        row["relative"] = _row(settings, _relative(settings, spanning, ceiling.spanning))
    if "shuffled" in kept:
        null = TimeNull(spanning, kept["shuffled"])
        medians = [float(np.median(each[np.isfinite(each)])) for each in kept["shuffled"] if np.isfinite(each).any()]
        row["null"] = {"median": float(np.mean(medians)) if medians else None, **null.test(rng=settings.seed)}
    return row


def _mean(per_bin: NDArray[Any]) -> NDArray[Any]:
    """Mean over bins (unit,) of the scores that there are."""
    defined = np.isfinite(per_bin)
    counts = defined.sum(axis=0)
    return np.where(counts > 0, np.where(defined, per_bin, 0.0).sum(axis=0) / np.maximum(counts, 1), np.nan)


def printed(summary: Mapping[str, Any]) -> str:
    """The table that the command prints."""
    lines = ["median over units of correlations on held-out stimuli, with its 95 % interval"]
    if summary["ceiling"] is not None:
        ceiling = summary["ceiling"]["spanning"]
        lines.append(
            f"a perfect model: {_text(ceiling)} spanning time (split halves of {summary['ceiling']['stimuli']} stimuli)"
        )
    lines.append(
        f"{'area':<6}{'per bin':<24}{'spanning time':<24}{'of the ceiling':<24}{'lag (ms)':>9}  {'shuffled':>8}  "
        f"{'t-test':>9}  {'permutation':>11}"
    )
    for row in summary["areas"]:
        null = row["null"] or {}
        lines.append(
            f"{row['area']:<6}{_text(row['bins']):<23} {_text(row['spanning']):<23} {_text(row['relative']):<23} "
            f"{row['lag_ms']:>9.4g}  {_number(null.get('median'), '.3f'):>8}  {_p(null.get('p_t')):>9}  "
            f"{_p(null.get('p_permutation')):>11}"
        )
    left = max((row["spanning"]["left_out"] for row in summary["areas"]), default=0)
    if left:
        lines.append(f"units without a score, left out: {left} of {summary['recording']['units']}")
    return "\n".join(lines)


def _text(row: Mapping[str, Any] | None) -> str:
    if row is None or row["median"] is None:
        return "-"
    low, high = row["interval"]
    return f"{row['median']:.3f} ({low:.3f} to {high:.3f})"


def _number(value: float | None, how: str) -> str:
    return "-" if value is None else format(value, how)


def _p(value: float | None) -> str:
    return "-" if value is None else f"p={value:.2g}" if value >= 1e-4 else "p<0.0001"


def draw(
    settings: PredictSettings,
    recording: Recording,
    model_bins: NDArray[np.float64],
    ceiling: Ceiling | None,
    found: Found,
    folder: Path,
) -> None:
    """Write the figures."""
    figures = analysis.figures
    rows = {f"area {area}": _area(settings, recording, ceiling, area, kept) for area, kept in found.items()}
    tops = None if ceiling is None else _ceiling_rows(settings, ceiling)
    if len(recording.bins_ms) > 1:
        over_time = figures.predictivity_over_time(
            recording.bins_ms,
            {name: row["per_bin"] for name, row in rows.items()},
            ceiling=None if tops is None else tops["per_bin"],
        )
        figures.save(over_time, folder / "over_time.png")
    shuffled = {
        name: row["null"]["median"] for name, row in rows.items() if row["null"] and row["null"]["median"] is not None
    }
    by_area = figures.predictivity_by_area(
        {name: row["spanning"] for name, row in rows.items()}, shuffled, ceiling=None if tops is None else tops["spanning"]
    )
    figures.save(by_area, folder / "by_area.png")
    maps = {f"area {area}": _median(kept["map"]) for area, kept in found.items() if "map" in kept}
    if maps:
        figures.save(figures.predictivity_map(model_bins, recording.bins_ms, maps), folder / "map.png")


def _median(scores: NDArray[Any]) -> NDArray[Any]:
    """Median over units of those that have a score; NaN where none has."""
    defined = np.isfinite(scores)
    filled = np.where(defined.any(axis=-1, keepdims=True), scores, 0.0)
    return np.where(defined.any(axis=-1), np.nanmedian(filled, axis=-1), np.nan)
