"""Figures 2C and 3: what an image costs, autonomous inference, and noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cordstasks.experiments.cost import run_cost
from cordstasks.experiments.robustness import run_robustness
from cordstasks.experiments.robustness_settings import RobustnessSettings
from cordstasks.paper.findings import AGREES, DISAGREES, Drawing, Finding, Outcome, judge
from cordstasks.paper.parts import Workplace
from cordstasks.utils.files import read_json

__all__ = ["autonomy", "cost"]

REST = 0.05  # of the response to the image, after which activity counts as back at rest
NAME = "CordsNet"


def cost(folder: Path, workplace: Workplace) -> Outcome:
    """Multiply-accumulates against parameters, beside the classification models of torchvision.

    Parameters
    ----------
    folder : Path
        Folder of table and figure.
    workplace : Workplace
        Not used: the numbers are exact.

    Returns
    -------
    Outcome
        How many models of about the same size cost less.
    """
    run_cost(folder)
    rows = read_json(folder / "summary.json")["costs"]
    ours = {row["family"]: row for row in rows if row["name"] == "CordsNet-R8"}
    size = ours["CordsNet, published"]["parameters"]
    near = [row for row in rows if row["family"] == "torchvision" and size / 2 <= row["parameters"] <= 2 * size]
    findings = []
    for family, what in (("CordsNet, published", "as published"), ("CordsNet, simulator", "with this package's simulator")):
        operations = ours[family]["multiply_accumulates"]
        less = sum(row["multiply_accumulates"] < operations for row in near)
        findings.append(
            Finding(
                f"CordsNet-R8, {what}, costs more per image than feed-forward networks with as many parameters.",
                f"{operations / 1e9:.0f} G multiply-accumulates; {less} of {len(near)} models of torchvision with half to "
                "twice its parameters need fewer",
                AGREES if less == len(near) else DISAGREES,
                "exact counts at 224 px for 300 steps; agrees if all these models need fewer",
            )
        )
    drawing = Drawing("cost.png", "Multiply-accumulates against parameters", " ".join(each.measured for each in findings))
    return Outcome(findings, [drawing], ["python -m cordstasks.cost"])


def autonomy(folder: Path, workplace: Workplace) -> Outcome:
    """Autonomous inference: right for as long as an image stays, at rest after it, for one image after another.

    Parameters
    ----------
    folder : Path
        Folder of numbers and figures.
    workplace : Workplace
        How to make them; its ``images`` are needed.

    Returns
    -------
    Outcome
        Accuracy at the end of each image, the distance from rest after it, and accuracy under noise.
    """
    assert workplace.images is not None
    given: dict[str, Any] = {"count": 20 if workplace.quick else 1000}
    found = run_robustness(workplace.images / "test", folder, **given)
    settings = RobustnessSettings(**given)
    chance = 0.1  # ten classes, equally many images of each
    findings = []
    for row, period in zip(found["autonomy"][NAME], settings.periods, strict=True):
        if period.image is not None:
            low, high = row["interval"]
            findings.append(
                Finding(
                    f"The network recognises image {period.image + 1} of a sequence, without a reset.",
                    f"{100 * row['accuracy']:.1f} % right ({100 * low:.1f} to {100 * high:.1f}) at its end, chance 10 %",
                    judge((low, high), above=chance),
                    "agrees if the whole 95 % interval lies above chance",
                )
            )
        elif row["accuracy"] is not None:
            low, high = row["distance_interval"]
            findings.append(
                Finding(
                    "Activity returns to rest when an image is gone.",
                    f"distance from rest {row['distance']:.4f} ({low:.4f} to {high:.4f}) of the response to the image, "
                    f"{period.duration:g} ms later",
                    judge((low, high), below=REST),
                    f"agrees if the whole 95 % interval lies below {REST:g}",
                )
            )
    drawings = [
        Drawing("autonomy.png", "A sequence of images and blanks", " ".join(each.measured for each in findings)),
        Drawing("noise.png", "Deviation and accuracy under noise that is drawn anew at each step", "Noise response."),
    ]
    note = (
        "the comparison with a feed-forward and a discrete-time recurrent network, which must be trained first, is another "
        "command: python -m cordstasks.robustness --cnn DIR --recurrent DIR"
    )
    command = f"python -m cordstasks.robustness --images DIR/test --count {settings.count}"
    return Outcome(findings, drawings, [command], [settings.seed], [note])
