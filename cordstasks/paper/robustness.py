"""Figures 2C and 3: what an image costs, autonomous inference, and noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cordstasks.experiments.cost import run_cost
from cordstasks.experiments.robustness import run_robustness
from cordstasks.experiments.robustness_settings import RobustnessSettings
from cordstasks.paper.findings import AGREES, CANNOT_TELL, DISAGREES, Drawing, Finding, Outcome, judge
from cordstasks.paper.parts import Workplace
from cordstasks.pretraining.pipeline import pretrain
from cordstasks.utils.files import read_json

__all__ = ["autonomy", "cost"]

REST = 0.05  # of the response to the image, after which activity counts as back at rest
SMALLER = 10.0  # times, by which deviations are claimed to be smaller than in the CNN
SIZE = {"depth": 4, "image_size": 32}  # of the networks that are trained here
OVER_TIME = "Distance from rest, probabilities of both images' classes, and accuracy over time."  # of a drawing
RECURRENT_STEPS = 3  # from zero activity to the answer; the image reaches the last area after two


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
    shown = "Multiply-accumulates per image against parameters, of CordsNet-R2 to R8 and the models of torchvision. "
    shown += " ".join(f"{each.claim.partition(', costs')[0]}: {each.measured}." for each in findings)
    drawing = Drawing("cost.png", "Multiply-accumulates against parameters", shown)
    return Outcome(findings, [drawing], ["python -m cordstasks.cost"])


def autonomy(folder: Path, workplace: Workplace) -> Outcome:
    """Autonomous inference of the shipped network, and noise beside a CNN and a recurrent CNN, which are trained here.

    Parameters
    ----------
    folder : Path
        Folder of numbers and figures, and of the networks.
    workplace : Workplace
        How to make them; its ``images`` are needed.

    Returns
    -------
    Outcome
        Accuracy at the end of each image, the distance from rest after it, deviations under noise relative to the CNN's, and
        when the recurrent CNN is right.
    """
    assert workplace.images is not None
    count, beside = (20, 20) if workplace.quick else (40, 150)
    shipped = run_robustness(workplace.images / "test", folder / "shipped", count=count)
    networks = _controls(folder, workplace)
    found = run_robustness(workplace.images / "test", folder / "controls", count=beside, **networks)
    rows = next(iter(shipped["autonomy"].values()))
    findings = [
        *_sequence(rows, RobustnessSettings(count=count)),
        *_noise(found["deviation_ratio"][next(name for name in found["networks"] if name.startswith("CNN"))]),
        _one_step(found["answers"][next(name for name in found["networks"] if name.startswith("recurrent"))]),
    ]
    lasting = next(iter(found["answers"].items()))
    drawings = [
        Drawing(
            "shipped/autonomy.png",
            "The shipped network, a sequence of images and blanks",
            f"{OVER_TIME} Image 1: {findings[0].measured}.",
        ),
        Drawing(
            "controls/autonomy.png",
            "Three networks of the same size, the same sequence",
            f"{OVER_TIME} Recurrent CNN: {findings[-1].measured}.",
        ),
        Drawing(
            "controls/noise.png",
            "Deviation and accuracy under noise, drawn anew at each step",
            f"Deviation from the response without noise, and accuracy, by level of noise: {findings[-2].measured}.",
        ),
    ]
    depth, size = SIZE["depth"], SIZE["image_size"]
    notes = [
        f"the shipped network is R8 at 64 px; the comparison is between three networks of R{depth} at {size} px that are "
        "trained here on the same images: a CNN, the CordsNet that is made from it by nonlinear matching and training at "
        "equilibrium, and a recurrent CNN. The paper's networks are larger",
        f"for comparison, {lasting[0]}: {_answered(lasting[1]['best'])}; {_answered(lasting[1]['end'])}",
        "a step of the two CNNs stands for 10 ms, one of the CordsNet for 2 ms: it averages over more draws of the noise",
    ]
    given = _sizes(workplace.quick)
    flags = {
        stage: " ".join(f"--{name.replace('_', '-')} {value}" for name, value in {**SIZE, **own}.items())
        for stage, own in given.items()
    }
    commands = [
        f"python -m cordstasks.robustness --images DIR/test --count {count} --out shipped",
        f"python -m cordstasks.pretrain --data DIR --out r{depth} {flags['all']}",
        f"python -m cordstasks.pretrain --data DIR --out r{depth}-recurrent --stage recurrent {flags['recurrent']}",
        f"python -m cordstasks.robustness --images DIR/test --count {beside} --out controls --cnn r{depth} "
        f"--recurrent r{depth}-recurrent --network r{depth}/cordsnet-r{depth}.safetensors",
    ]
    return Outcome(findings, drawings, commands, [0], notes)


def _sizes(quick: bool) -> dict[str, dict[str, Any]]:
    """Settings of the two trainings: the CordsNet with its CNN, and the recurrent CNN."""
    images, epochs = (640, (1, 1, 1)) if quick else (16000, (4, 1, 2))
    cordsnet = {"cnn_epochs": epochs[0], "match": "nonlinear", "match_images": images // 2, "equilibrium_epochs": epochs[1]}
    return {
        "all": {"train_images": images, **cordsnet, "check_images": 100 if quick else 1000},
        "recurrent": {"train_images": images, "recurrent_epochs": epochs[2], "recurrent_steps": RECURRENT_STEPS},
    }


def _controls(folder: Path, workplace: Workplace) -> dict[str, str]:
    """Train what is not there yet; what `run_robustness` is given."""
    assert workplace.images is not None
    name = f"r{SIZE['depth']}"
    places = {"all": folder / name, "recurrent": folder / f"{name}-recurrent"}
    weights = places["all"] / f"cordsnet-{name}.safetensors"
    done = {"all": places["all"] / "summary.json", "recurrent": places["recurrent"] / "recurrent.safetensors"}
    for stage, given in _sizes(workplace.quick).items():
        if not done[stage].is_file():
            begun = (places[stage] / "config.json").exists()
            settings = {**SIZE, **given, "seed": 0}
            pretrain(workplace.images, places[stage], stage=stage, resume=begun, device=workplace.device, **settings)
    return {"network": str(weights), "cnn": str(places["all"]), "recurrent": str(places["recurrent"])}


def _sequence(rows: list[dict[str, Any]], settings: RobustnessSettings) -> list[Finding]:
    """Conclusions on a sequence of images and blanks."""
    chance = 0.1  # ten classes, equally many images of each
    findings, image = [], 0
    for row, period in zip(rows, settings.periods, strict=True):
        if period.image is not None:
            image = period.image + 1
            low, high = row["interval"]
            findings.append(
                Finding(
                    f"The network recognises image {image} of a sequence, without a reset.",
                    f"{100 * row['accuracy']:.1f} % right ({100 * low:.1f} to {100 * high:.1f}) at its end, chance 10 %",
                    judge((low, high), above=chance),
                    "agrees if the whole 95 % interval lies above chance",
                )
            )
        elif row["accuracy"] is not None:
            low, high = row["distance_interval"]
            findings.append(
                Finding(
                    f"Activity returns to rest when image {image} is gone.",
                    f"distance from rest {row['distance']:.4f} ({low:.4f} to {high:.4f}) of the response to the image, "
                    f"{period.duration:g} ms later",
                    judge((low, high), below=REST),
                    f"agrees if the whole 95 % interval lies below {REST:g}",
                )
            )
    return findings


def _noise(rows: list[dict[str, Any]]) -> list[Finding]:
    """The conclusion on deviations of the CNN relative to the CordsNet, over all levels of noise."""
    verdicts = [judge(row["interval"], above=SMALLER) for row in rows]
    listed = ", ".join(
        f"{row['ratio']:.1f} ({row['interval'][0]:.1f} to {row['interval'][1]:.1f}) at {row['level']:g}" for row in rows
    )
    verdict = verdicts[0] if len(set(verdicts)) == 1 else CANNOT_TELL
    return [
        Finding(
            "Activity deviates under noise over ten times less than in the feed-forward CNN.",
            f"the CNN's deviation relative to the CordsNet's: {listed} SD of noise",
            verdict,
            f"agrees if the 95 % intervals of the ratio lie above {SMALLER:g} at all levels, does not agree if all lie "
            "below; bootstrap over images",
        )
    ]


def _one_step(answers: dict[str, Any]) -> Finding:
    """The conclusion on the recurrent CNN: right at its step only."""
    best, end = answers["best"], answers["end"]
    apart = best["interval"][0] > end["interval"][1]
    same = best["interval"][0] <= end["accuracy"]
    return Finding(
        "A discrete-time recurrent CNN is right at the step that it was trained for, not for as long as the image stays.",
        f"{_answered(best)}; {_answered(end)}; trained to answer after {RECURRENT_STEPS} steps of 10 ms",
        AGREES if apart and best["after_ms"] < end["after_ms"] else DISAGREES if same else CANNOT_TELL,
        "agrees if the accuracy at its best lies above that at the end of the image with separate 95 % intervals, does not "
        "agree if the accuracy at the end lies within the interval of the best",
    )


def _answered(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    return f"{100 * row['accuracy']:.1f} % right ({100 * low:.1f} to {100 * high:.1f}) {row['after_ms']:g} ms after onset"
