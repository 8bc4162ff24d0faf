"""Throughput of training recurrent networks: batched, one alone, and a plain loop over steps and networks, side by side.

With cordstasks installed: ``python benchmarks/rnn.py``. From the root of a checkout that is not installed:
``PYTHONPATH=. python benchmarks/rnn.py``. OMP_NUM_THREADS sets the number of CPU threads.

All contenders take turns within a run, and medians over the rounds are printed: a busy machine slows them alike. Each does
the same: forward with private noise, backward, and a step of Adam, on trials that are drawn beforehand. Networks that are
batched are run by compiled code, where numba is installed and the processor has AVX2 (`cordstasks.rnn.fast`), and once more
by PyTorch's operations. Then come, for as many networks as are batched, the products with the recurrent weights alone by
``torch.bmm`` (forward, backward, and the gradient of the weights), and the noise alone.

On a machine that is busy with other programs, ``OMP_NUM_THREADS=1`` and ``--clock cpu`` compare processor time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from cordstasks.utils.command_line import at_least_one, run_command
from cordstasks.utils.measured import machine_line, note_number

if TYPE_CHECKING:
    import torch

BATCHED, OPERATIONS, ALONE, MODULE, PLAIN = "batched", "by operations", "one alone", "RNN.forward", "plain loop"
PRODUCTS, NOISE = "products only", "noise only"
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Trials x steps x networks a second when training recurrent networks.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--task", default="dms")
    parser.add_argument("--connectivity", default="full")
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--networks", type=int, default=32, help="of the batched contender")
    parser.add_argument("--loop-networks", type=int, default=2, help="that the plain loop goes through in each round")
    parser.add_argument("--rounds", type=at_least_one, default=7, help="timings of each, of which the median is printed")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="wall time, or processor time of all threads")
    run(parser.parse_args())
    return 0


def run(options: argparse.Namespace) -> None:
    import numpy as np
    import torch

    from cordstasks.rnn import fast
    from cordstasks.rnn.noise import fill_normal
    from cordstasks.rnn.stack import TOGETHER, RNNStack
    from cordstasks.training.abstract import masked_error, side_by_side, untrained
    from cordstasks.training.settings import AbstractSettings
    from cordstasks.utils.allocation import kept_memory

    began = time.perf_counter()
    reason = fast.why_not()
    way, first = f"PyTorch operations ({reason})" if reason else "compiled code", time.perf_counter() - began
    settings = AbstractSettings(
        options.task,
        connectivity=options.connectivity,
        units=options.units,
        batch=options.batch,
        seeds=tuple(range(options.networks)),
    )
    task = settings.abstract_task()
    batches = [task.sample(options.batch, seed=seed) for seed in settings.seeds]
    inputs, targets, mask = side_by_side(batches, torch.device("cpu"))
    networks = [untrained(settings, seed) for seed in settings.seeds]

    def learner(module: torch.nn.Module, loss: Callable[[], Any]) -> Callable[[], None]:
        optimiser = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=1e-4)

        def learn() -> None:
            optimiser.zero_grad(set_to_none=True)
            loss().backward()
            optimiser.step()

        return learn

    def stacked(count: int) -> Callable[[], None]:
        stack = RNNStack(networks[:count])
        generators = [np.random.Generator(np.random.SFC64(seed)) for seed in range(count)]
        return learner(
            stack, lambda: masked_error(stack(inputs[:count], noise=generators), targets[:count], mask[:count]).sum()
        )

    def by_operations() -> Callable[[], None]:
        stack = RNNStack(networks)
        generators = [np.random.Generator(np.random.SFC64(seed)) for seed in settings.seeds]

        def loss() -> Any:
            outputs, _ = stack._by_operations(stack._given(inputs), generators, return_rates=False)
            return masked_error(outputs.transpose(1, 2), targets, mask).sum()

        return learner(stack, loss)

    generator = torch.Generator().manual_seed(0)

    def by(forward: Callable[[Any, Any], Any]) -> Callable[[], None]:
        steps = []
        for index in range(options.loop_networks):
            network = untrained(settings, index)

            def loss(network: Any = network, index: int = index) -> Any:
                outputs = forward(network, inputs[index])
                return masked_error(outputs[None], targets[index : index + 1], mask[index : index + 1]).sum()

            steps.append(learner(network, loss))

        def learn() -> None:
            for step in steps:
                step()

        return learn

    trials, steps, units = options.batch, inputs.shape[2], options.units
    values = [torch.randn(options.networks, *shape) for shape in ((steps, trials, units), (units, units))]
    parts = list(zip(*(value.split(TOGETHER) for value in values), strict=True))

    def products() -> None:
        for rates, weights in parts:
            result = torch.empty(len(rates), trials, units)
            for matrix in (weights.mT, weights):
                for step in range(steps):
                    torch.bmm(rates[:, step], matrix, out=result)
            torch.bmm(rates.flatten(1, 2).mT, rates.flatten(1, 2))

    own = [np.random.Generator(np.random.SFC64(seed)) for seed in settings.seeds]
    drawn = np.empty((options.networks, steps, trials, units), np.float32)

    def noise() -> None:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(fill_normal, own, drawn))

    contenders = {
        BATCHED: (options.networks, stacked(options.networks)),
        OPERATIONS: (options.networks, by_operations()),
        ALONE: (1, stacked(1)),
        MODULE: (options.loop_networks, by(lambda network, u: network(u, generator=generator))),
        PLAIN: (options.loop_networks, by(lambda network, u: plain_loop(network, u, generator))),
        PRODUCTS: (options.networks, products),
        NOISE: (options.networks, noise),
    }
    clock = CLOCKS[options.clock]
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(options.rounds + 1):
        for name, (count, learn) in contenders.items():
            # as in training; a plain loop gives its memory back
            with nullcontext() if name == PLAIN else kept_memory():
                learn()
                began = clock()
                learn()
                seconds = clock() - began
            if round_:  # the first warms up
                rates[name].append(count * options.batch * inputs.shape[2] / seconds)
    base = statistics.median(rates[PLAIN])
    print(
        f"{options.task}, {inputs.shape[2]} steps, {options.connectivity}, {options.units} units, batch {options.batch}, ",
        end="",
    )
    print(f"{torch.get_num_threads()} threads, {options.clock} time\n{machine_line()}")
    print(f"stacks: {way}; {first:.1f} s to load or compile it, and to compare it")
    print(f"{'':<13} {'networks':>8} {'trials x steps x networks a second':>35} {'against the plain loop':>23}")
    for name, (count, _) in contenders.items():
        rate = statistics.median(rates[name])
        print(f"{name:<13} {count:>8} {rate:>35,.0f} {rate / base:>22.1f}x")
        what = f"{name}: {count} networks of {options.units} units"
        note_number(what, rate, "trials x steps x networks per s", ratio=rate / base, beside=PLAIN)


def plain_loop(network: Any, inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A network as a textbook writes it, step by step; outputs (trial, time, output)."""
    import torch

    matrix = network.connectivity.matrix()
    x, outputs = inputs.new_zeros(len(inputs), network.units), []
    scale = network.noise * (2 / network.alpha) ** 0.5
    f = {"relu": torch.relu, "tanh": torch.tanh, "softplus": torch.nn.functional.softplus}[network.activation]
    for step in range(inputs.shape[1]):
        noise = scale * torch.randn(x.shape, generator=generator)
        drive = network.bias + inputs[:, step] @ network.input_weights.T + noise
        if network.form == "rate":
            x = x + network.alpha * (-x + f(x @ matrix.T + drive))
            rates = x
        else:
            x = x + network.alpha * (-x + f(x) @ matrix.T + drive)
            rates = f(x)
        outputs.append(rates @ network.output_weights.T + network.output_bias)
    return torch.stack(outputs, 1)


if __name__ == "__main__":
    run_command(main)
