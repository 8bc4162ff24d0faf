"""Where along the visual areas is motion? Accuracy of the quadratic decoder on each area's features, by coherence.

With cordstasks installed: ``python benchmarks/motion_by_area.py --out motion-by-area``. All areas are read in one simulation
of the whole front-end, each averaged to 4 x 4 locations. The decoder is the teacher of ``cordstasks.train --task rdm``
(`cordstasks.training.distillation`), fitted to training movies of each area by itself and tested on movies that it has never
seen. Prints the table and writes ``by_area.json`` and ``by_area.png``.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from cordstasks.utils.command_line import run_command
from cordstasks.utils.measured import machine_line


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[100], help="seeds of the movies (default 100)")
    parser.add_argument("--trials", type=int, default=320, help="training movies per seed (default 320)")
    parser.add_argument("--heldout", type=int, default=420, help="movies to test on per seed (default 420)")
    parser.add_argument("--side", type=int, default=4, help="each area is averaged to SIDE x SIDE (default 4)")
    parser.add_argument("--out", type=Path, default=Path("motion-by-area"), help="folder of the results")
    parser.add_argument("--bank", type=Path, help="folder of the feature bank")
    options = parser.parse_args()
    print(machine_line(), flush=True)
    from cordstasks import analysis
    from cordstasks.utils.files import write_json

    options.out.mkdir(parents=True, exist_ok=True)
    rows = tabulated([row for seed in options.seeds for row in decoded(seed, options)])
    levels = sorted({row["coherence"] for row in rows}, reverse=True)
    print("area" + "".join(f"{100 * level:9.1f} %" for level in levels))
    for area in sorted({row["area"] for row in rows}):
        own = {row["coherence"]: row["accuracy"] for row in rows if row["area"] == area}
        print(f"{area:4d}" + "".join(f"{100 * own[level]:11.1f}" for level in levels))
    write_json(options.out / "by_area.json", {"rows": rows, "seeds": options.seeds, "trials": options.trials})
    shown = [{**row, "coherence": round(100 * row["coherence"], 1)} for row in rows if row["coherence"] > 0]
    figure = analysis.figures.performance(
        shown, "area", lines="coherence", chance=0.5, x_label="area of the front-end", line_label="coherence (%)"
    )
    analysis.figures.save(figure, options.out / "by_area.png")
    return 0


def decoded(seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Trials right and wrong of one seed, by area and coherence."""
    import numpy as np
    import torch

    from cordstasks.frontend import FrontEnd
    from cordstasks.model import projected
    from cordstasks.runs.visual import task_of
    from cordstasks.training.distillation import fit_teacher, running_evidence
    from cordstasks.training.settings import VisualSettings
    from cordstasks.training.trials import trial_set

    settings = VisualSettings.new("rdm", trials=options.trials, heldout=options.heldout, seed=seed, inputs=48)
    frontend = FrontEnd(settings.frontend, areas=range(8), side=options.side, bank=options.bank)
    task = task_of(settings, frontend.image_size)
    state = np.random.SeedSequence(seed).generate_state(2).tolist()
    batches = (
        task.for_training().sample(settings.trials, seed=state[0], dt=settings.dt),
        task.for_testing().sample(settings.heldout, seed=state[1], dt=settings.dt),
    )
    seen, unseen = (
        trial_set(frontend.features(batch.movies, dt=batch.dt, label=f"front-end, {name}"), batch, torch.device("cpu"), task)
        for batch, name in zip(batches, ("training movies", "test movies"), strict=True)
    )
    coherence = batches[1].conditions["coherence"]
    ends = np.cumsum(seen.inputs.blocks)
    rows = []
    for area, (first, last) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        own, other = (replace(part.inputs, rows=part.inputs.rows[:, first:last], blocks=()) for part in (seen, unseen))
        teacher = fit_teacher(own, seen.answers == 1, seen.evidence, settings)
        inputs = projected(other, teacher.mean, teacher.projection).take(slice(None))
        evidence = running_evidence(inputs, teacher.matrix, teacher.lags, unseen.evidence)[:, -1]
        right = ((evidence > 0) == (unseen.answers == 1)).numpy()
        rows += [{"area": area, "coherence": float(c), "correct": bool(r)} for c, r in zip(coherence, right, strict=True)]
    return rows


def tabulated(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Accuracy with its interval, by area and coherence."""
    import numpy as np

    from cordstasks import analysis

    columns = {name: np.array([trial[name] for trial in trials]) for name in ("area", "coherence", "correct")}
    by = {name: columns[name] for name in ("area", "coherence")}
    table: list[dict[str, Any]] = analysis.behaviour.performance_table(by, columns["correct"])
    return table


if __name__ == "__main__":
    run_command(main)
