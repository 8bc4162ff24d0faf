"""Figures 1B, 1D and 4: regimes of random networks, attractors of memories, trajectories, early and late, spectra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cordstasks import runs
from cordstasks.experiments.attractors import attractors_of_run, write_attractors
from cordstasks.experiments.dynamics_settings import EarlyLateSettings
from cordstasks.experiments.early_late import run_early_late
from cordstasks.experiments.regimes import Regimes, write_regimes
from cordstasks.experiments.spectra import run_spectra
from cordstasks.experiments.trajectories import run_trajectories
from cordstasks.paper.findings import AGREES, CANNOT_TELL, DISAGREES, Drawing, Finding, Outcome, judge
from cordstasks.paper.parts import Workplace

__all__ = ["attractors", "early_and_late", "regimes", "spectra", "trajectories"]

MEMORIES = {"memory-pro": "ring", "parametric-wm": "line", "dms": "discrete"}  # tasks, and what the paper shows
GAINS = (0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 4.0)
EARLY_LATE: dict[str, Any] = {"depth": 2, "image_size": 32, "batches": 100, "batch": 16, "seeds": 3}
EARLY_LATE_QUICK: dict[str, Any] = {**EARLY_LATE, "batches": 4, "seeds": 2, "count": 10, "eigenvalues": 20, "jacobians": 1}
NO_OVERSHOOT = 1e-4  # of the response; less is rounding of single precision, added up over steps
CLASSES = ("cat", "dog")  # of CIFAR-10: the most similar ones


def regimes(folder: Path, workplace: Workplace) -> Outcome:
    """Random networks: rest below a critical gain, chaos above it.

    Parameters
    ----------
    folder : Path
        Folder of table and figure.
    workplace : Workplace
        How to make them.

    Returns
    -------
    Outcome
        Leading Lyapunov exponents at the lowest and at the highest gain, and dimensions.
    """
    settings = Regimes(gains=GAINS, channels=16)
    if workplace.quick:
        settings = Regimes(gains=(GAINS[0], GAINS[-1]), steps=1000, transient=500)
    rows = write_regimes(settings, folder)
    own = [row for row in rows if row["kind"] == "convolutional"]
    findings = []
    for gain, name, bound in ((min(settings.gains), "settle", "below"), (max(settings.gains), "are chaotic", "above")):
        ends = _exponents([row for row in own if row["gain"] == gain])
        findings.append(
            Finding(
                f"Random convolutional networks of {'small' if bound == 'below' else 'large'} weights {name}.",
                f"leading Lyapunov exponent at gain {gain:g}: {ends[0]:.3f} to {ends[1]:.3f} per time constant",
                judge(ends, **{bound: 0.0}),
                f"agrees if the exponents of all networks, give or take two standard errors, lie {bound} 0",
            )
        )
    settled = [row["gain"] for row in own if row["dimension"] is None]
    dimensions = [row["dimension"] for row in own if row["gain"] == max(settings.gains) and row["dimension"] is not None]
    listed = ", ".join(f"{value:.0f}" for value in dimensions) or "none"
    findings.append(
        Finding(
            "Activity of random networks becomes high-dimensional as their weights grow.",
            f"participation ratio at gain {max(settings.gains):g}: {listed} of {settings.units}; {len(settled)} others rest",
            AGREES if dimensions and min(dimensions) > 1 and settled else CANNOT_TELL,
            "agrees if networks of small weights settle, and the activity of all others has more than one dimension",
        )
    )
    drawing = Drawing(
        "regimes.png", "Regimes of random networks over the gain", " ".join(f"{each.measured}." for each in findings)
    )
    command = f"python -m cordstasks.dynamics regimes --gains {' '.join(f'{gain:g}' for gain in settings.gains)}"
    return Outcome(
        findings,
        [drawing],
        [f"{command} --channels {settings.channels} --steps {settings.steps} --transient {settings.transient}"],
        tuple(range(settings.seeds)),
    )


def _exponents(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """The range of the leading exponents of some networks, with two standard errors on each side."""
    low = min(row["exponent"] - 2 * row["error"] for row in rows)
    return float(low), float(max(row["exponent"] + 2 * row["error"] for row in rows))


def attractors(folder: Path, workplace: Workplace) -> Outcome:
    """Trained memories: a ring, a line, and discrete states.

    Parameters
    ----------
    folder : Path
        Folder of the runs.
    workplace : Workplace
        How to make them.

    Returns
    -------
    Outcome
        For each task, the kinds of attractor of its networks.
    """
    seeds = (0,) if workplace.quick else (0, 1, 2, 3, 4)
    findings, drawings, commands = [], [], []
    for task, kind in MEMORIES.items():
        out = folder / task
        begun = (out / "config.json").exists()
        given: dict[str, Any] = {} if begun else {"seeds": seeds, "activation": "tanh"}
        made = runs.train(None if begun else task, out=out, resume=begun, device="cpu", **given)
        found = [memory.attractor.points.kind for memory in attractors_of_run(made)]
        learned = [bool(row["learned"]) for row in made.summary["networks"]]
        kinds = [each for each, able in zip(found, learned, strict=True) if able]
        if not (out / "dynamics" / "attractors.csv").exists():
            write_attractors(out)
        right = kinds.count(kind)
        verdict = CANNOT_TELL if not kinds or 0 < right < len(kinds) else AGREES if right else DISAGREES
        findings.append(
            Finding(
                f"The memory of {task} is kept by a {kind} attractor.",
                f"{right} of {len(kinds)} networks that learned it: {', '.join(sorted(kinds)) or 'none'}",
                verdict,
                "agrees if all networks that learned the task have this kind, does not agree if none has",
            )
        )
        drawings.append(
            Drawing(f"{task}/dynamics/attractor-0.png", f"Memory of {task} (seed 0)", f"States at rest: {found[0]}.")
        )
        commands.append(
            f"python -m cordstasks.train --task {task} --activation tanh --seeds 0:{len(seeds)} --out {task} && "
            f"python -m cordstasks.dynamics attractors {task}"
        )
    return Outcome(findings, drawings, commands, seeds)


def trajectories(folder: Path, workplace: Workplace) -> Outcome:
    """Trajectories of the last area: two similar classes are separated along one dimension.

    Parameters
    ----------
    folder : Path
        Folder of numbers and figure.
    workplace : Workplace
        How to make them; its ``images`` are needed.

    Returns
    -------
    Outcome
        Held-out accuracy along the axis.
    """
    assert workplace.images is not None
    count = 20 if workplace.quick else 200
    found = run_trajectories(workplace.images / "test", CLASSES, folder, count=count)
    low, high = found["axis"]["interval"]
    finding = Finding(
        "One dimension of the last area separates two similar classes of images.",
        f"{100 * found['axis']['accuracy']:.1f} % of held-out images ({100 * low:.1f} to {100 * high:.1f}), chance 50 %; "
        f"d' {found['axis']['d_prime']:.2f}",
        judge((low, high), above=0.5),
        "agrees if the whole 95 % interval of the held-out accuracy lies above 50 %",
    )
    drawing = Drawing("trajectories.png", f"Trajectories of {CLASSES[0]}s and {CLASSES[1]}s", finding.measured)
    command = f"python -m cordstasks.trajectories --images DIR/test --classes {' '.join(CLASSES)} --count {count}"
    note = "cats and dogs of CIFAR-10 at 64 px, in place of the paper's two breeds of dogs of ImageNet at 224 px"
    return Outcome([finding], [drawing], [command], [0], [note])


def early_and_late(folder: Path, workplace: Workplace) -> Outcome:
    """Networks that are trained to answer early and late: imaginary parts of their eigenvalues, and overshoot.

    Parameters
    ----------
    folder : Path
        Folder of the networks, numbers and figure.
    workplace : Workplace
        How to make them; its ``images`` are needed.

    Returns
    -------
    Outcome
        Differences between the two, with intervals over pairs of networks.
    """
    assert workplace.images is not None
    given = EARLY_LATE_QUICK if workplace.quick else EARLY_LATE
    found = run_early_late(workplace.images, folder, **given)
    findings = []
    for measure, claim in (
        ("imaginary_jacobian", "have leading eigenvalues of larger imaginary parts"),
        ("overshoot", "overshoot more"),
    ):
        gap, rows = found["differences"][measure], found["networks"]
        early, late = (
            ", ".join(f"{row[measure]:.3g}" for row in rows if row["trained"] == name) for name in ("early", "late")
        )
        ends = "" if gap["interval"] is None else f" ({gap['interval'][0]:+.3g} to {gap['interval'][1]:+.3g})"
        findings.append(
            Finding(
                f"Networks that are trained to answer early {claim} than networks that are trained to answer late.",
                f"early {early}; late {late}; difference {gap['mean']:+.3g}{ends}",
                judge(gap["interval"], above=0.0),
                "agrees if the whole 95 % interval of the difference, by Student's t over pairs of networks, lies above 0",
            )
        )
    right = sum(row[f"accuracy_{row['trained']}"] for row in found["networks"]) / len(found["networks"])
    shown = "Responses of both kinds over time, their eigenvalues in the complex plane, and two measures of each pair. "
    shown += " ".join(
        f"{name}: {each.measured}." for name, each in zip(("Imaginary parts", "Overshoot"), findings, strict=True)
    )
    drawing = Drawing("early_late.png", "Responses, eigenvalues and overshoot", shown)
    notes = []
    if max(row["overshoot"] for row in found["networks"]) < NO_OVERSHOOT:
        notes.append(
            f"all overshoots are below {NO_OVERSHOOT:g} of the response: networks of this size approach their final state "
            "without any, so that the second conclusion cannot be tested with them"
        )
    flags = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in given.items())
    size = f"{given['depth']} areas at {given['image_size']} px"
    training = f"{given['batches']} batches of {given.get('batch', EarlyLateSettings().batch)} images"
    note = (
        f"networks of {size}, trained through all steps from random weights for {training}; in their window they are right "
        f"about {100 * right:.0f} % of test images of CIFAR-10 (mean). The paper's are trained to convergence"
    )
    return Outcome(
        findings,
        [drawing],
        [f"python -m cordstasks.dynamics early-late --images DIR {flags}"],
        tuple(range(given["seeds"])),
        [note, *notes],
    )


def spectra(folder: Path, workplace: Workplace) -> Outcome:
    """Leading eigenvalues of the recurrent weights of each area of the shipped network.

    Parameters
    ----------
    folder : Path
        Folder of numbers and figure.
    workplace : Workplace
        Whether to compute fewer of them, of the small areas alone.

    Returns
    -------
    Outcome
        Largest real parts, and how many of the eigenvalues have imaginary parts.
    """
    given: dict[str, Any] = {"eigenvalues": 20, "areas": (6, 7)} if workplace.quick else {"eigenvalues": 100}
    rows = run_spectra(folder, **given)["areas"]
    converged = sum(row["converged"] for row in rows)
    total, oscillating = sum(len(row["real"]) for row in rows), sum(row["oscillating"] for row in rows)
    worst = max(row["residual"] for row in rows)
    listed = ", ".join(f"{row['largest_real']:.2f}" for row in rows)
    largest = ", ".join(f"{row['largest_imaginary']:.2f}" for row in rows)
    bound = max(row["largest_real"] + row["residual"] for row in rows), min(row["largest_real"] for row in rows)
    why = f"{converged} of {total} eigenvalues converged, with residuals of at most {worst:.1e}"
    findings = [
        Finding(
            "The recurrent weights of every area alone are stable: eigenvalues of W_rec - I have negative real parts.",
            f"largest real part of areas {rows[0]['area']} to {rows[-1]['area']}: {listed}",
            AGREES if bound[0] < 0 else DISAGREES if bound[1] > 0 else CANNOT_TELL,
            f"agrees if all areas lie below 0, does not agree if all lie above; {why}",
        ),
        Finding(
            "Leading eigenvalues are complex, so that activity of an area turns while it decays.",
            f"{oscillating} of {total} have an imaginary part; the largest of each area: {largest}",
            AGREES if all(row["oscillating"] for row in rows) else DISAGREES,
            f"agrees if some of every area have an imaginary part above their residual; {why}",
        ),
    ]
    shown = "Eigenvalues in the complex plane, a panel for each area, with the circle of radius 1 around -1. "
    shown += f"{findings[0].measured[0].upper()}{findings[0].measured[1:]}."
    drawing = Drawing("spectra.png", "Leading eigenvalues of W_rec - I of each area", shown)
    areas = f" --areas {' '.join(map(str, given['areas']))}" if "areas" in given else ""
    command = f"python -m cordstasks.dynamics spectra --eigenvalues {given['eigenvalues']}{areas}"
    note = "leading are the eigenvalues that differ most from -1; cordsnet-r8 at 64 px"
    return Outcome(findings, [drawing], [command], (), [note])
