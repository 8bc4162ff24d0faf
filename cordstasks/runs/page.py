"""The report of a finished run as one HTML file, made from what is in its folder."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cordstasks import reports
from cordstasks.errors import InputError
from cordstasks.runs import abstract
from cordstasks.runs.recorded import recorded_settings
from cordstasks.training.settings import AbstractSettings, VisualSettings
from cordstasks.utils.arguments import path_of
from cordstasks.utils.files import read_json, write_bytes
from cordstasks.utils.folders import family_of
from cordstasks.utils.html import Code, Fold, Picture, Section, described_in, page, tables_of
from cordstasks.utils.report_file import REPORT
from cordstasks.utils.run_folder import RunFolder
from cordstasks.utils.settings_flags import flags_of
from cordstasks.utils.states import restoring

__all__ = ["command_of", "picture", "write_report"]

MACHINE = ("cordstasks", "python", "torch", "torchvision", "numpy", "platform", "device", "threads")
CAPTIONS = {
    "psychometric": "Choices against signed coherence, and accuracy against coherence, each with its fit.",
    "observers": "Accuracy of the model beside that of other observers.",
    "performance": "Accuracy by condition on held-out trials, with 95 % intervals.",
    "controls": "Accuracy on control stimuli beside the standard ones.",
    "boundary": "Choices along the morphs, and where the boundary between the categories lies.",
    "confusion": "Answers against right answers.",
    "tuning": "Tuning of the recurrent units.",
    "learning": "How training went: the loss, and the score on trials that were not trained on.",
    "movies": "Frames that the network saw.",
    "trials": "Inputs, outputs and targets of trials of the network with the median score.",
    "distances": "Distance between every two networks.",
    "embedding": "The same distances as a map: networks that are close are alike.",
    "tree": "The same distances as a tree.",
    "trajectories": "Trajectories of pairs of networks after alignment.",
}


def write_report(folder: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Write the report of a finished run: results, figures, settings, versions and the command that repeats it.

    Parameters
    ----------
    folder : path-like
        The run's folder.
    out : path-like, optional
        The HTML file; by default ``report.html`` in the folder.

    Returns
    -------
    pathlib.Path
        The file. It needs nothing beside it, so it can be sent to others. The same folder gives the same bytes.

    Raises
    ------
    InputError
        If there is no finished run, a file of it is damaged, or the report cannot be written.
    """
    run = RunFolder(path_of("folder", folder))
    target = run.path / REPORT if out is None else path_of("out", out)
    run.config()  # an error if there is no run
    if not run.finished:
        raise InputError(f"folder={str(folder)!r}: the run is not finished; finish it first")
    write_bytes(target, _page(run).encode())
    return target


def _page(run: RunFolder) -> str:
    summary_path = run.path / "summary.json"
    summary = read_json(summary_path)
    is_abstract = family_of(run.path) == AbstractSettings.FAMILY
    settings: VisualSettings | AbstractSettings
    settings = recorded_settings(run, AbstractSettings) if is_abstract else recorded_settings(run, VisualSettings)
    table = abstract.table(run.path) if is_abstract else reports.table(summary_path)
    table = "\n".join(line for line in table.strip("\n").splitlines() if not line.startswith(f"{run.path}/:"))
    with restoring(summary_path, "remove it, and --resume makes it again"):
        lead = _abstract_lead(summary) if is_abstract else _visual_lead(summary)
        numbers = {name: each for name, each in summary.items() if name not in ("settings", "environment")}
        machine = {name: summary["environment"][name] for name in MACHINE if name in summary["environment"]}
        seconds = dict(summary["seconds"])
        sections = [
            Section("Results", [Code(table, "table of results")]),
            Section("Figures", [picture(path) for path in sorted(run.path.glob("*.png"))]),
            Section("All numbers", [Fold("everything in summary.json", tables_of(numbers))]),
            Section(
                "How to repeat it", [Code(command_of(settings), "command", wrapped=True), *tables_of({"seconds": seconds})]
            ),
            Section("Settings", [Fold("everything that determines the run", tables_of(settings.as_dict()))]),
            Section("Machine and versions", tables_of(machine)),
        ]
    return page(f"{summary['task']}: {_network(settings)}", sections, lead=lead)


def command_of(settings: VisualSettings | AbstractSettings) -> str:
    """The command line that repeats a run.

    Parameters
    ----------
    settings : VisualSettings or AbstractSettings
        Of the run.

    Returns
    -------
    str
        Flags are given for what differs from the defaults of the task.
    """
    defaults = type(settings).new(settings.task)
    words = ["python", "-m", "cordstasks.train", "--task", settings.task, *flags_of(settings, defaults)]
    return shlex.join(words)


def picture(path: Path, *, caption: str | None = None) -> Picture:
    """A figure in a file, with the description that it holds as its alternative text.

    Parameters
    ----------
    path : Path
        A PNG file.
    caption : str, optional
        By default, what figures of this name show.

    Returns
    -------
    Picture

    Raises
    ------
    InputError
        If the file cannot be read, or is neither a PNG nor an SVG file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); remove it, and make it again") from error
    usual = CAPTIONS.get(path.stem, f"{path.stem.replace('_', ' ').capitalize()}.")
    above = usual if caption is None else caption
    try:
        return Picture(content, f"{above} {described_in(content)}".strip(), f"{above} ({path.name})")
    except InputError as error:
        raise InputError(f"{path}: {error}; remove it, and make it again") from error


def _network(settings: VisualSettings | AbstractSettings) -> str:
    count = f"{len(settings.seeds)} networks" if isinstance(settings, AbstractSettings) else "a network"
    return f"{count} of {settings.units} units, {settings.connectivity} connectivity"


def _visual_lead(summary: Mapping[str, Any]) -> str:
    score = summary["heldout"]
    low, high = score["interval"]
    chance = f"; chance is {score['chance']:.1%}" if score.get("chance") is not None else ""
    of = f"{score['accuracy']:.1%} of {score['trials']} held-out trials are right"
    return f"{of} (95 % interval {low:.1%} to {high:.1%}){chance}."


def _abstract_lead(summary: Mapping[str, Any]) -> str:
    count = len(summary["networks"])
    measure, criterion = summary["measure"], summary["criterion"]
    return f"{summary['learned']} of {count} networks learned the task: their {measure} is at least {criterion:g}."
