"""Random-dot motion from labels alone: what a network learns from so many movies without a teacher.

With cordstasks installed: ``python benchmarks/labels_alone.py --movies 240 480 960 --seed 100 --network flat mt``. Two
networks read the same features of one area of the front-end, and are tested on the same movies that they never saw:

flat : the run's own network, 512 recurrent units that read 300 whitened principal components, trained as by
    ``python -m cordstasks.train --task rdm --labels-only``.
mt : a small area whose weights are shared over space, as those of visual cortex nearly are. Features are whitened across
    channels (one matrix for all locations), drive rectified recurrent units at each location, and the units' mean over
    space and time is read out linearly.

Labels are all that either is trained on. Movies come in pairs, of which one is the other backwards, as in the task's own
training trials. Front-end features are kept in the bank, so the command can be repeated for other settings.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from cordstasks import runs
from cordstasks.frontend import Features, FrontEnd
from cordstasks.frontend.components import inverse_root
from cordstasks.runs.visual import heldout_trials, task_of, training_trials
from cordstasks.tasks import TrialBatch
from cordstasks.training.settings import VisualSettings
from cordstasks.utils.command_line import run_command
from cordstasks.utils.measured import machine_line

BATCH = 64  # movies


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--movies", type=int, nargs="+", default=[240, 480, 960], help="training movies, in pairs")
    parser.add_argument("--seed", type=int, default=100, help="seed of movies, weights and order (default 100)")
    parser.add_argument("--network", nargs="+", choices=("flat", "mt"), default=["flat", "mt"])
    parser.add_argument("--area", type=int, default=1, help="the front-end's area, from 0 (default 1)")
    parser.add_argument("--side", type=int, default=8, help="its maps are averaged to SIDE x SIDE (default 8)")
    parser.add_argument("--heldout", type=int, default=420, help="movies to test on, of all coherences (default 420)")
    parser.add_argument(
        "--training-coherences", type=float, nargs="+", default=None, help="of the training movies (default: the task's)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("labels-alone"), help="folder of flat's runs (default labels-alone)"
    )
    parser.add_argument("--bank", type=Path, help="folder of the feature bank (default: in the user's cache)")
    shared = parser.add_argument_group("mt alone")
    shared.add_argument("--channels", type=int, default=32, help="units at each location (default 32)")
    shared.add_argument("--kernel", type=int, default=1, help="side of the kernel that reads features, odd (default 1)")
    shared.add_argument("--alpha", type=float, default=0.4, help="step of 20 ms over the units' time constant (default 0.4)")
    shared.add_argument("--mix", type=int, default=1, help="most trials of one answer that are mixed (default 1: none)")
    shared.add_argument(
        "--flip", action="store_true", help="turn feature maps, not movies, upside down in half of the trials"
    )
    shared.add_argument("--batches", type=int, default=400, help="training batches of 64 movies (default 400)")
    shared.add_argument("--learning-rate", type=float, default=3e-3, help="Adam's, falling along a cosine (default 0.003)")
    shared.add_argument("--weight-decay", type=float, default=1e-3, help="decoupled (default 0.001)")
    options = parser.parse_args()
    print(machine_line(), flush=True)
    if any(movies < 2 or movies % 2 for movies in options.movies):
        parser.error("--movies: give even numbers, since movies come in pairs")
    if options.kernel % 2 == 0:
        parser.error("--kernel: give an odd number")
    if options.mix < 1 or options.mix & (options.mix - 1):
        parser.error("--mix: give a power of two")
    compare(options)
    return 0


@dataclass(frozen=True)
class Movies:
    """What the front-end makes of some movies while the dots move.

    Attributes
    ----------
    maps : Tensor of shape (trial, time, side, side, channel), float16
        Features of one area.
    first : Tensor of shape (trial,), bool
        Whether the first direction is right.
    coherence : ndarray of shape (trial,)
        Fractions from 0 to 1.
    """

    maps: Tensor
    first: Tensor
    coherence: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.maps)

    def part(self, trials: slice) -> Movies:
        """Some of the movies."""
        return Movies(self.maps[trials], self.first[trials], self.coherence[trials])


class SharedArea(nn.Module):
    """Rectified leaky units, the same at each location, that features drive; their mean over space and time is read out.

    Parameters
    ----------
    channels : int
        Channels of the features.
    units : int
        Units at each location, connected with each other.
    kernel : int
        Side of the kernel that reads features.
    alpha : float
        A step over the units' time constant.
    generator : torch.Generator
        Generator of the weights at the start.
    """

    def __init__(self, channels: int, units: int, *, kernel: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        self.alpha = alpha

        def normal(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(scale * torch.randn(*shape, generator=generator))

        self.input_kernel = normal(units, channels, kernel, kernel, scale=(channels * kernel**2) ** -0.5)
        self.recurrent = normal(units, units, scale=0.9 * units**-0.5)
        self.bias = nn.Parameter(torch.zeros(units))
        self.readout = normal(units, scale=units**-0.5)
        self.readout_bias = nn.Parameter(torch.zeros(()))

    def forward(self, maps: Tensor) -> Tensor:
        """Log odds (trial,) of the first direction from maps (trial, time, side, side, channel)."""
        trials, steps, side, _, channels = maps.shape
        maps = maps.transpose(0, 1)
        if self.input_kernel.shape[-1] == 1:
            drive = F.linear(maps, self.input_kernel[:, :, 0, 0], self.bias)
        else:
            images = maps.reshape(-1, side, side, channels).permute(0, 3, 1, 2)
            drive = F.conv2d(images, self.input_kernel, self.bias, padding="same").permute(0, 2, 3, 1)
        drive = drive.reshape(steps, trials * side * side, -1)
        state = torch.zeros_like(drive[0])
        total = state
        for step in drive:
            state = torch.lerp(state, F.relu(torch.addmm(step, state, self.recurrent.T)), self.alpha)
            total = total + state
        mean = total.view(trials, side * side, -1).mean(1) / steps
        return mean @ self.readout + self.readout_bias


def whitening(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (side, side, channel) of maps (trial, time, side, side, channel), and the matrix that whitens channels.

    The matrix (channel, channel) is the inverse root of the covariance of channels over all locations and times.
    """
    parts = maps.split(64)
    mean = sum(part.float().sum((0, 1)) for part in parts) / (maps.shape[0] * maps.shape[1])
    covariance = torch.zeros(maps.shape[-1], maps.shape[-1], dtype=torch.float64)
    for part in parts:
        rows = (part.float() - mean).flatten(0, 3)
        covariance += (rows.T @ rows).double() / (maps.numel() / maps.shape[-1])
    values, vectors = torch.linalg.eigh(covariance.float())
    return mean, (vectors * inverse_root(values)) @ vectors.T


def whitened(movies: Movies, mean: Tensor, matrix: Tensor) -> Movies:
    """The movies with whitened maps."""
    return replace(movies, maps=torch.cat([((part.float() - mean) @ matrix).half() for part in movies.maps.split(64)]))


def drawn(movies: Movies, pick: Tensor, options: argparse.Namespace, generator: torch.Generator) -> Tensor:
    """Maps of the trials `pick`, mixed with others of the same answer and turned, as the options ask.

    Each is a sum of 1, 2, 4 ... trials in turn, up to ``options.mix``, with random weights whose squares add up to one, as
    in `cordstasks.training.mixing`.
    """
    parts = pick[:, None].repeat(1, options.mix)
    weights = torch.ones(len(pick), 1)
    if options.mix > 1:
        sizes = 2 ** torch.arange(int(math.log2(options.mix)) + 1)
        size = sizes.repeat(-(-len(pick) // len(sizes)))[: len(pick), None]
        for answer in (True, False):
            members = (movies.first == answer).nonzero()[:, 0]
            rows = (movies.first[pick] == answer).nonzero()[:, 0]
            others = torch.randint(len(members), (len(rows), options.mix - 1), generator=generator)
            parts[rows, 1:] = members[others]
        weights = torch.randn(len(pick), options.mix, generator=generator) * (torch.arange(options.mix) < size)
        weights = weights / weights.norm(dim=1, keepdim=True)
    maps = torch.zeros(len(pick), *movies.maps.shape[1:])
    for column in range(options.mix):
        maps.addcmul_(movies.maps[parts[:, column]].float(), weights[:, column].view(-1, 1, 1, 1, 1))
    if options.flip:
        turned = torch.rand(len(pick), generator=generator) < 0.5
        maps[turned] = maps[turned].flip(2)
    return maps


def train_area(movies: Movies, options: argparse.Namespace) -> SharedArea:
    """An area trained on the labels of whitened movies."""
    generator = torch.Generator().manual_seed(options.seed)
    area = SharedArea(
        movies.maps.shape[-1], options.channels, kernel=options.kernel, alpha=options.alpha, generator=generator
    )
    optimiser = torch.optim.AdamW(area.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.batches)
    for _ in range(options.batches):
        pick = torch.randint(len(movies), (BATCH,), generator=generator)
        odds = area(drawn(movies, pick, options, generator))
        loss = F.binary_cross_entropy_with_logits(odds, movies.first[pick].float())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(area.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return area


@torch.no_grad()
def odds_of(area: SharedArea, movies: Movies) -> Tensor:
    """Log odds (trial,) of the first direction."""
    return torch.cat([area(part.float()) for part in movies.maps.split(BATCH)])


def seen(frontend: FrontEnd, batch: TrialBatch, label: str) -> Movies:
    """What the front-end makes of a batch's movies while the dots move."""
    features: Features = frontend.features(batch.movies, dt=batch.dt, label=label)
    onset, end = (round(time / batch.dt) for time in batch.periods["motion"][0])
    rows = features.rows[features.index[:, onset:end]]
    maps = rows.unflatten(-1, (-1, frontend.sides[0], frontend.sides[0])).permute(0, 1, 3, 4, 2)
    return Movies(maps.contiguous(), torch.from_numpy(batch.answers == 1), batch.conditions["coherence"])


def given(movies: int, options: argparse.Namespace) -> dict[str, Any]:
    """The settings of a run on labels alone."""
    coherences = options.training_coherences
    return {
        "labels_only": True,
        "seed": options.seed,
        "trials": movies,
        "heldout": options.heldout,
        "areas": (options.area,),
        "side": options.side,
        "parameters": {} if coherences is None else {"training_coherences": tuple(coherences)},
    }


def shared_weights(movies: int, options: argparse.Namespace) -> dict[float, float]:
    """Accuracy by coherence of an area with weights shared over space."""
    settings = VisualSettings.new("rdm", **given(movies, options))
    frontend = FrontEnd(areas=settings.areas, side=settings.side, bank=options.bank)
    task = task_of(settings, frontend.image_size)
    learned = seen(frontend, training_trials(settings, task), "training movies")
    statistics = whitening(learned.maps)
    area = train_area(whitened(learned, *statistics), options)
    heldout = whitened(seen(frontend, heldout_trials(settings, task), "held-out movies"), *statistics)
    right = ((odds_of(area, heldout) > 0) == heldout.first).numpy()
    return {float(level): float(right[heldout.coherence == level].mean()) for level in np.unique(heldout.coherence)}


def flat(movies: int, options: argparse.Namespace) -> dict[float, float]:
    """Accuracy by coherence of the run's own network, trained on labels alone."""
    folder = options.out / f"flat-{options.seed}-{movies}"
    if (folder / "config.json").exists():
        run = runs.train(out=folder, resume=True, bank=options.bank)
    else:
        run = runs.train("rdm", out=folder, bank=options.bank, **given(movies, options))
    rows = run.summary["heldout"]["by_condition"]
    return {row["coherence"]: row["accuracy"] for row in rows}


def compare(options: argparse.Namespace) -> None:
    """Print a row for each network and number of movies."""
    networks = {"flat": flat, "mt": shared_weights}
    width = 12
    levels: list[float] = []
    rows: list[str] = []
    for name in options.network:
        for movies in options.movies:
            began = time.monotonic()
            accuracy = networks[name](movies, options)
            if not levels:
                levels = sorted(accuracy, reverse=True)
            cells = [f"{100 * accuracy[level]:.1f}" for level in levels] + [f"{time.monotonic() - began:.0f}"]
            rows.append(name.ljust(8) + str(movies).rjust(8) + "".join(cell.rjust(width) for cell in cells))
    names = [*(f"{100 * level:.1f} %" for level in levels), "seconds"]
    print("network".ljust(8) + "movies".rjust(8) + "".join(name.rjust(width) for name in names))
    print("\n".join(rows))


if __name__ == "__main__":
    run_command(main)
