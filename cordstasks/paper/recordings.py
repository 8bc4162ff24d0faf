"""Figure 6B-C: does the time course of areas predict recordings, better than recordings whose time bins are shuffled?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cordstasks import analysis
from cordstasks.errors import InputError
from cordstasks.experiments.known_recording import KnownRecording, write_known_recording
from cordstasks.experiments.monkey_it import MACAQUE, compare_with_it, similarity_figure
from cordstasks.experiments.monkey_lip import lip_courses, network_courses, time_matters
from cordstasks.experiments.predict_settings import PredictSettings
from cordstasks.experiments.predictivity import predict
from cordstasks.paper.findings import AGREES, DISAGREES, Drawing, Finding, Outcome, judge
from cordstasks.paper.parts import Workplace
from cordstasks.paper.reproduce import made_before
from cordstasks.recordings.files import ENDINGS, read

__all__ = ["known", "recorded"]

LEVEL = 0.05
QUICK: dict[str, Any] = {"components": 10, "splits": 3, "permutations": 20, "held_out": 0.2, "time_map": "none"}
BETTER = "The time course of {what} is predicted better than the same recording with its time bins shuffled."
RULE = (
    "agrees if the whole 95 % interval (bootstrap over units) of the score less that of shuffled time bins lies above 0; "
    "the paired t-test over units is the paper's"
)


def known(folder: Path, workplace: Workplace) -> Outcome:
    """Recordings that were made from an area with a lag: is the area found, its lag, and that time matters?

    Parameters
    ----------
    folder : Path
        Folder of recordings and results.
    workplace : Workplace
        How to make them.

    Returns
    -------
    Outcome
        Area, lag, and the comparison with shuffled time bins; the last also of a recording whose bins were shuffled.
    """
    device = _device(workplace)
    made = KnownRecording(stimuli=40, noise=0.5) if workplace.quick else KnownRecording()
    areas = (1, made.area) if workplace.quick else (1, 3, made.area, 7)
    found = {}
    for name, shuffled in (("as recorded", False), ("shuffled", True)):
        own = folder / name.replace(" ", "-")
        if not (own / "recording.npz").exists():
            write_known_recording(replace(made, shuffled=shuffled), own, device=device)
        chosen = QUICK if workplace.quick else {"splits": 5, "time_map": "none"}
        settings = PredictSettings(
            recording=str(own / "recording.npz"), stimuli=str(own / "pictures"), areas=areas, lag_ms=40, **chosen
        )
        found[name] = predict(settings, own / "result", device=device)
    rows = {row["area"]: row for row in found["as recorded"]["areas"]}
    best = found["as recorded"]["best"]["area"]
    lags = rows[made.area]["lags_ms"]
    median = float(np.median(lags))
    listed = "; ".join(f"area {area} {_score(row)}" for area, row in rows.items())
    null = next(row for row in found["shuffled"]["areas"] if row["area"] == made.area)["null"]
    findings = [
        Finding(
            f"Of a recording that was made from area {made.area}, this area predicts most.",
            listed,
            AGREES if best == made.area else DISAGREES,
            "agrees if its median over units is the largest",
        ),
        Finding(
            f"The lag of {made.lag_ms:g} ms of that recording is found.",
            f"median {median:g} ms ({min(lags):g} to {max(lags):g} in {len(lags)} splits)",
            AGREES if abs(median - made.lag_ms) < 1 else DISAGREES,
            "agrees if it is the median of the lags that splits choose on their training stimuli",
        ),
        _time_matters("that recording", rows[made.area]["null"]),
        Finding(
            "Of a recording whose time bins were shuffled beforehand, the time course is not predicted better.",
            f"{_null(null)}; permutation test p = {null['p_permutation']:.2g}",
            AGREES if null["p_permutation"] > LEVEL else DISAGREES,
            f"agrees if the permutation test has p > {LEVEL:g}",
        ),
    ]
    drawings = [
        Drawing(
            f"as-recorded/result/{name}.png",
            f"A recording made from area {made.area}, {made.lag_ms:g} ms later: {what}",
            f"{what}. {listed}.",
        )
        for name, what in (("by_area", "score of each area beside shuffled time bins"), ("over_time", "score over time"))
    ]
    command = "python -m cordstasks.predict --recording 6B/as-recorded/recording.npz --stimuli 6B/as-recorded/pictures"
    command += f" --areas {' '.join(map(str, areas))} --lag-ms 40"
    note = "recordings that were made from the model itself: they test the analysis, not the model"
    return Outcome(findings, drawings, [command], [made.seed], [note])


def recorded(folder: Path, workplace: Workplace) -> Outcome:
    """Recordings of a user: of each region, is its time course predicted better than with shuffled time bins?

    Parameters
    ----------
    folder : Path
        Folder of results.
    workplace : Workplace
        How to make them; its ``recordings`` are needed: a folder of recordings with, for each file, a folder of its
        pictures of the same name, or one folder ``pictures`` for all. Two published files are known by their names:
        ``kriegeskorte2008_92images.mat`` and ``roitman_lip_rates.csv``.

    Returns
    -------
    Outcome
        One finding or more for each recording and region.
    """
    place = workplace.recordings
    assert place is not None
    files = sorted(place.iterdir()) if place.is_dir() else []
    files = [file for file in files if file.name in PUBLISHED or file.suffix.lower() in ENDINGS]
    if not files:
        raise InputError(
            f"recordings={place}: holds no recordings; give a folder with files that end in {', '.join(ENDINGS)}"
        )
    found = [PUBLISHED.get(file.name, _predicted)(file, folder, workplace) for file in files]
    return Outcome(
        [finding for each in found for finding in each.findings],
        [drawing for each in found for drawing in each.drawings],
        [command for each in found for command in each.commands],
        [0],
        [note for each in found for note in each.notes],
    )


def _predicted(file: Path, folder: Path, workplace: Workplace) -> Outcome:
    """A recording by each area, region by region."""
    stimuli = next((each for each in (file.parent / file.stem, file.parent / "pictures") if each.is_dir()), None)
    if stimuli is None:
        raise InputError(f"recordings={file.parent}: {file.name} has no pictures; name their folder {file.stem} or pictures")
    findings, drawings, commands, notes = [], [], [], []
    for region in dict.fromkeys(read(file).regions.tolist()):
        own: dict[str, Any] = {"region": region} if region else {}
        own |= QUICK if workplace.quick else {}
        name, what = (f"{file.stem}-{region}", f"{file.stem}, {region}") if region else (file.stem, file.stem)
        settings = PredictSettings(recording=str(file), stimuli=str(stimuli), **own)
        found = predict(settings, folder / name, device=_device(workplace))
        notes += [f"{what}: {note}" for note in found["notes"]]
        flag = f" --region {region}" if region else ""
        commands.append(f"python -m cordstasks.predict --recording DIR/{file.name} --stimuli DIR/{stimuli.name}{flag}")
        best = next((row for row in found["areas"] if found["best"] and row["area"] == found["best"]["area"]), None)
        if best is None or best["null"] is None:
            notes.append(f"{what}: has one time bin, or no unit that can be predicted, so that there is no time course")
            continue
        finding = _time_matters(f"{what} (by area {best['area']}, which predicts most)", best["null"])
        findings.append(finding)
        drawings += [
            Drawing(f"{name}/{figure}.png", f"{what}: predictivity {how}", f"Predictivity {how}: {finding.measured}.")
            for figure, how in (("by_area", "of each area beside shuffled time bins"), ("over_time", "over time"))
        ]
    return Outcome(findings, drawings, commands, [0], notes)


def _it(file: Path, folder: Path, workplace: Workplace) -> Outcome:
    """Dissimilarities of 92 images in IT, which have no time course, beside areas over time."""
    resamples = 200 if workplace.quick else 1000
    found = compare_with_it(file, resamples=resamples, device=_device(workplace))
    similarity = found[MACAQUE]
    last = similarity.areas - 1
    differences = (
        (
            "The last area is more similar to macaque IT than pixels are (92 images).",
            similarity.late(last),
            similarity.pixels,
        ),
        (
            "The last area becomes more similar to macaque IT in the time after onset (92 images).",
            similarity.late(last),
            similarity.early(last),
        ),
    )
    findings, told = [], []
    for claim, one, other in differences:
        difference, (low, high) = similarity.compared.difference(one, other)
        values = similarity.compared.values
        told.append(f"{claim.rstrip('.')}: {values[one]:.3f} against {values[other]:.3f}")
        findings.append(
            Finding(
                claim,
                f"rank correlation of dissimilarities {values[one]:.3f} against {values[other]:.3f}: {difference:+.3f} "
                f"({low:+.3f} to {high:+.3f})",
                judge((low, high), above=0.0),
                f"agrees if the whole 95 % interval lies above 0; bootstrap over images ({resamples} sets)",
            )
        )
    analysis.figures.save(similarity_figure(found), folder / "it.png")
    caption = "Similarity of each area to macaque and human IT over time"
    drawing = Drawing("it.png", caption, f"{caption}, as rank correlation of dissimilarities. {'; '.join(told)}.")
    note = "the dissimilarities of IT are averages over time, so that they do not test the model's timing"
    return Outcome(
        findings, [drawing], [f"python benchmarks/monkey_it.py DIR/{file.name} --resamples {resamples}"], [0], [note]
    )


def _lip(file: Path, folder: Path, workplace: Workplace) -> Outcome:
    """Rates of LIP by coherence beside the tuned units of the networks of figure 5A."""
    lip, saccade = lip_courses(file, "dots"), lip_courses(file, "sacc")
    made_before("5A", folder.parent, workplace)
    run = folder.parent / "5A" / "seed-0"
    model, counts = network_courses(run)
    found = time_matters(lip, model)
    (low, high), p = found["interval"], found["p_t"]
    finding = Finding(
        "The time course of LIP's rates is followed better than the same rates with their time bins shuffled.",
        f"correlation {found['correlation']:.2f}, {found['difference']:+.2f} ({low:+.2f} to {high:+.2f}) above shuffled, "
        f"over {found['conditions']} choices and coherences" + ("" if p is None else f"; paired t-test: p = {p:.2g}"),
        judge((low, high), above=0.0),
        "agrees if the whole 95 % interval (bootstrap over choices and coherences) lies above 0; the network from 100 to "
        "400 ms after the onset of the dots, LIP 100 ms later; means over neurons, of one network",
    )
    panels = {"LIP, dots at 0 ms": lip, "LIP, saccade at 0 ms": saccade, "network, dots at 0 ms": model}
    units = ("firing rate (Hz)", "firing rate (Hz)", "response (SD)")
    analysis.figures.save(analysis.figures.ramps(panels, units=units), folder / "lip.png")
    caption = "Ramps of area LIP and of the network of figure 5A (seed 0)"
    drawing = Drawing("lip.png", caption, f"{caption}, by coherence: {finding.measured}.")
    note = f"LIP: {counts['units']} of the network's {counts['of']} units are tuned; ramps are of {counts['trials']} trials"
    return Outcome([finding], [drawing], [f"python benchmarks/monkey_lip.py OUT/5A/seed-0 DIR/{file.name}"], [0], [note])


PUBLISHED: dict[str, Callable[[Path, Path, Workplace], Outcome]] = {
    "kriegeskorte2008_92images.mat": _it,
    "roitman_lip_rates.csv": _lip,
}


def _device(workplace: Workplace) -> str:
    return "cpu" if workplace.device == "auto" else workplace.device


def _time_matters(what: str, null: Mapping[str, Any]) -> Finding:
    """Whether the score exceeds that of shuffled time bins."""
    return Finding(BETTER.format(what=what), _null(null), judge(null["interval"], above=0.0), RULE)


def _null(null: Mapping[str, Any]) -> str:
    """A comparison with shuffled time bins in words."""
    if null["interval"] is None:
        return "no unit has a score"
    low, high = null["interval"]
    test = "" if null["p_t"] is None else f"; paired t-test over {null['units']} units: p = {null['p_t']:.2g}"
    return f"correlation {null['difference']:+.3f} ({low:+.3f} to {high:+.3f}) above shuffled{test}"


def _score(row: Mapping[str, Any]) -> str:
    low, high = row["spanning"]["interval"]
    return f"{row['spanning']['median']:.3f} ({low:.3f} to {high:.3f})"
