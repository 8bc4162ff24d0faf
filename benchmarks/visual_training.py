"""Time of one batch of training on a visual task: autograd through every step, and the gradient that is written out.

    python benchmarks/visual_training.py [--tasks rdm saccade catdog] [--rounds 5] [--clock cpu]

Trials, network and settings are those of ``python -m cordstasks.train``; the inputs are random numbers in the place of
features, so no front-end is needed. Each batch has everything that training has: mixed trials or noisy inputs, forward with
private noise, the losses of the actions, of the teacher and of the auxiliary targets, backward, clipping, AdamW and the
running average of the weights. Autograd goes through all steps of all trials; today's training leaves out those after a
trial's end. Batches of one task may take different times (recombined trials of catdog end with their test), so both ways
get the same ones. The two ways are processes that take turns, in another order in every round, from the same
weights and random numbers; the medians are printed. Then comes an evaluation on the
validation trials.

OMP_NUM_THREADS sets the number of CPU threads. On a machine that is busy with other programs, ``OMP_NUM_THREADS=1`` and
``--clock cpu`` compare processor time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cordstasks.utils.command_line import at_least_one, run_command
from cordstasks.utils.measured import machine_line, note_number

if TYPE_CHECKING:
    from cordstasks.training.settings import VisualSettings
    from cordstasks.training.trials import TrialSet

AUTOGRAD, WRITTEN = "autograd", "written"
SQUARE = 1024  # rows of the matrices whose product is the rate that others are compared with
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Seconds per batch when training on visual tasks.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--tasks", nargs="+", default=["rdm", "saccade", "catdog"])
    parser.add_argument("--trials", type=int, default=500, help="most training trials to draw batches from")
    parser.add_argument("--connectivity", default="full")
    parser.add_argument("--units", type=int, default=512)
    parser.add_argument("--rounds", type=at_least_one, default=5, help="timings of each, of which the median is printed")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="wall time, or processor time of all threads")
    run(parser.parse_args())
    return 0


def run(options: argparse.Namespace) -> None:
    from cordstasks.training.settings import VisualSettings

    clock = options.clock
    print(f"{options.clock} time\n{machine_line()}")
    for name in options.tasks:
        settings = VisualSettings.new(name, units=options.units, connectivity=options.connectivity)
        settings = replace(settings.with_inputs(10**6, chosen=False), trials=min(settings.trials, options.trials))
        context = multiprocessing.get_context("spawn")
        workers = {}
        for way in (AUTOGRAD, WRITTEN):
            ours, theirs = context.Pipe()
            context.Process(target=work, args=(settings, way, clock, theirs), daemon=True).start()
            workers[way] = ours
            described = ours.recv()
        seconds: dict[str, list[float]] = {way: [] for way in workers}
        losses = dict.fromkeys(workers, 0.0)
        at_products, computed = [], []
        for number in range(options.rounds):
            for way in sorted(workers, reverse=bool(number % 2)):
                workers[way].send(True)
                losses[way], passed, products, steps = workers[way].recv()
                seconds[way].append(passed)
                if way == WRITTEN:
                    at_products.append(products / passed)
                    computed.append(steps)
        medians = {way: statistics.median(values) for way, values in seconds.items()}
        print(f"{name}: {settings.units} units, {options.connectivity}, batch {settings.batch}, {described}")
        for way, median in medians.items():
            print(f"  {way:12}{median * 1000:9.1f} ms per batch; loss of the last batch {losses[way]:.6f}")
        ratio = medians[AUTOGRAD] / medians[WRITTEN]
        print(f"  ratio {ratio:.2f}")
        print(
            f"  {statistics.mean(computed):.0%} of the batches' steps are computed; at the rate of a product of two "
            f"{SQUARE} x {SQUARE} matrices, the products would take {statistics.median(at_products):.0%} of the time"
        )
        note_number(f"{name}: a batch of training", 1e3 * medians[WRITTEN], "ms", ratio=ratio, beside=AUTOGRAD)
        evaluations = {}
        for way, worker in workers.items():  # one after the other, or each would wait for the other's threads
            worker.send(False)
            evaluations[way] = worker.recv()
        every = f"an evaluation, every {settings.evaluate_every} batches"
        print(f"  {every}: {evaluations[AUTOGRAD]:.3f} s of whole trials, {evaluations[WRITTEN]:.3f} s today", flush=True)


def work(settings: VisualSettings, way: str, clock: str, orders: Any) -> None:
    """Learn from a batch whenever that is ordered, in a process of its own, since how memory is kept holds for a process."""
    import torch

    from cordstasks.training.evaluation import run_model, run_until
    from cordstasks.utils.allocation import kept_memory

    assert settings.inputs is not None
    seen, unseen = trials_of(settings)
    learn, batch_of = learner(settings, seen, way), rows_of_batches()
    orders.send(f"{seen.inputs.steps} steps of {settings.inputs} inputs, {len(seen)} trials")
    with nullcontext() if way == AUTOGRAD else kept_memory():
        learn()  # the first batch touches memory, and compiles
        square = torch.randn(SQUARE, SQUARE)
        while orders.recv():
            began = CLOCKS[clock]()
            square @ square
            rate = 2 * SQUARE**3 / (CLOCKS[clock]() - began)
            began = CLOCKS[clock]()
            loss = learn()
            passed = CLOCKS[clock]() - began
            rows, steps = batch_of[-1] if way == WRITTEN else (0, 1)
            # recurrent weights: forward, back, and their gradient; input weights: forward, and their gradient
            products = 2 * rows * settings.units * (3 * settings.units + 2 * settings.inputs) / rate
            orders.send((loss, passed, products, rows / (settings.batch * steps)))
            model = model_of(settings, way)
            for _ in range(2):  # the first warms up
                began = CLOCKS[clock]()
                if way == AUTOGRAD:
                    run_model(model, unseen.inputs)
                else:
                    run_until(model, unseen.inputs, (unseen.mask > 0) | unseen.response_mask)
            orders.send(CLOCKS[clock]() - began)


def rows_of_batches() -> list[tuple[int, int]]:
    """From now on, how many steps of trials each batch has computed, and of how many time steps, the latest batch last."""
    from cordstasks.rnn import RNN

    batches, packed = [], RNN.packed

    def noted(rnn: RNN, inputs: Any, packing: Any, **options: Any) -> Any:
        batches.append((len(inputs), packing.steps))
        return packed(rnn, inputs, packing, **options)

    RNN.packed = noted  # type: ignore[method-assign]
    return batches


def trials_of(settings: VisualSettings) -> tuple[TrialSet, TrialSet]:
    """Training and validation trials of a run with random inputs."""
    import numpy as np
    import torch

    from cordstasks.frontend.features import Features
    from cordstasks.frontend.histories import Cost
    from cordstasks.runs.visual import task_of, training_trials, validation_trials
    from cordstasks.training.trials import trial_set

    task, sets = task_of(settings), []
    assert settings.inputs is not None
    for number, batch in enumerate((training_trials(settings, task), validation_trials(settings, task))):
        # trials end at different times, after which there are no features
        ends = np.array([round(movie.duration_ms / batch.dt) for movie in batch.movies])
        inside = np.arange(batch.targets.shape[1]) < ends[:, None]
        index = np.where(inside, inside.cumsum().reshape(inside.shape) - 1, -1)
        generator = torch.Generator().manual_seed(number)
        rows = torch.randn(int(inside.sum()), settings.inputs, generator=generator, dtype=torch.float32)
        sets.append(trial_set(Features(rows, torch.from_numpy(index), Cost()), batch, torch.device("cpu"), task))
    return sets[0], sets[1]


def model_of(settings: VisualSettings, way: str) -> Any:
    """The untrained model of a run, differentiated in one of two ways."""
    import torch
    from torch.nn import functional as F

    from cordstasks.model import MultiAreaModel
    from cordstasks.rnn.network import ACTIVATIONS
    from cordstasks.runs.visual import task_of
    from cordstasks.training.networks import initial_network

    class StepByStep(MultiAreaModel):
        """Autograd keeps every step of every trial and adds up the gradients of the weights step by step."""

        def forward(self, inputs: Any, *, generator: Any = None) -> Any:
            rnn = self.rnn
            drives = F.linear(inputs, rnn.input_weights, rnn.bias).transpose(0, 1)
            if generator is not None and rnn.noise:
                drawn = torch.randn(drives.shape, generator=generator, device=drives.device, dtype=drives.dtype)
                drives = drives + rnn.noise_per_step * drawn
            recur, activation, kept = rnn.kind.operator(rnn.recurrent()), ACTIVATIONS[rnn.activation], []
            state = inputs.new_zeros(len(inputs), rnn.units)
            for drive in drives:
                rate = rnn.rates(state)
                total = recur(drive, rate)
                state = torch.lerp(state, activation(total) if rnn.form == "rate" else total, rnn.alpha)
                kept.append(rnn.rates(state))
            rates = torch.stack(kept, 1)
            return F.linear(rates, rnn.output_weights, rnn.output_bias), rates

    assert settings.inputs is not None
    kind = StepByStep if way == AUTOGRAD else MultiAreaModel
    return kind(initial_network(settings, settings.inputs, len(task_of(settings).actions), seed=0), 2048)


def learner(settings: VisualSettings, trials: TrialSet, way: str) -> Callable[[], float]:
    """A function that learns from one batch, in one of two ways, and returns its loss."""
    import torch

    from cordstasks.training import visual
    from cordstasks.training.distillation import Teacher
    from cordstasks.training.losses import AuxiliaryHeads

    model = model_of(settings, way)
    teacher = None
    if settings.teacher:
        assert settings.inputs is not None
        matrix = 0.01 * torch.randn(settings.inputs, settings.inputs, generator=torch.Generator().manual_seed(1))
        teacher = Teacher(model.mean, model.projection, matrix - matrix.T, (2,))
    mixing, classes = visual._mixing(trials, settings, teacher), visual._classes(trials, settings)
    heads = AuxiliaryHeads(settings.units, classes, trials.soft_targets)
    parameters = [*model.parameters(), *heads.parameters()]
    if way == AUTOGRAD:
        optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    else:
        optimiser = visual._optimiser(parameters, settings)
    averaged = visual._averaged(model, settings)
    generator = torch.Generator().manual_seed(0)
    step = whole_trials if way == AUTOGRAD else visual._step

    def learn() -> float:
        loss = step(model, heads, trials, mixing, teacher, optimiser, generator, settings)
        if averaged is not None:
            averaged.update_parameters(model)
        return loss

    return learn


def whole_trials(
    model: Any,
    heads: Any,
    trials: TrialSet,
    mixing: Any,
    teacher: Any,
    optimiser: Any,
    generator: Any,
    settings: VisualSettings,
) -> float:
    """Train on one batch with all steps of all trials, a read-out for the actions and one for each auxiliary target."""
    import torch
    from torch.nn import functional as F

    from cordstasks.training.distillation import running_evidence
    from cordstasks.training.losses import masked_cross_entropy, taught_loss

    pick = torch.randint(len(trials), (settings.batch,), generator=generator)
    targets, mask, evidence = trials.targets[pick], trials.mask[pick], trials.evidence[pick]
    auxiliary = {name: values[pick] for name, values in trials.auxiliary.items()}
    if mixing is not None:
        inputs = mixing.draw(pick, generator)
    else:
        source, recombination = pick, trials.recombination
        if recombination is not None and float(torch.rand(1, generator=generator)) < settings.recombine:
            partners = recombination.partners(pick, generator)
            source, targets, mask, auxiliary = recombination.joined(
                pick, partners, trials.targets, trials.mask, trials.auxiliary
            )
        inputs = trials.inputs.take(source)
        inputs = inputs + settings.input_noise * torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype)
    logits, rates = model(inputs, generator=generator)
    if teacher is None:
        loss = masked_cross_entropy(logits, targets, mask)
    else:
        odds = running_evidence(inputs, teacher.matrix, teacher.lags, evidence)
        steps = evidence | trials.response_mask[pick]
        loss = taught_loss(logits, odds, targets, mask, steps, typical=settings.odds_typical)
    losses = []
    for name, head in heads.heads.items():
        asked = auxiliary[name] >= 0
        right = auxiliary[name][asked]
        losses.append(
            F.cross_entropy(head(rates[asked]), heads.soft_targets[name][right] if name in heads.soft_targets else right)
        )
    total = loss + settings.auxiliary * torch.stack(losses).mean() if losses else loss
    optimiser.zero_grad(set_to_none=True)
    total.backward()
    torch.nn.utils.clip_grad_norm_([*model.parameters(), *heads.parameters()], settings.clip)
    optimiser.step()
    return float(loss.detach())


if __name__ == "__main__":
    run_command(main)
