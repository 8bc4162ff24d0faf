"""The time loop of one network, forward and backward, compiled.

Some trials go through all steps, so that their states and the network's weights stay in the innermost caches. A row holds
numbers of one trial: its rates r, and behind them its inputs u, the last of which is one, for the bias. So a step takes one
product of matrices,

    [s | o] = [noise | 0] + [r | u] A           A = | W'     W_out' |
                                                    | W_in'  offset |

with the outputs o of the step before, which the same rates make. Then, with f for the activation,

    rate form      y = f(s);  x <- x + alpha (y - x);  r = x
    current form   h <- h + alpha (s - h);  r = f(h)

On the way back, a row holds the gradient delta with respect to s of a step, and behind it the gradient g with respect to the
outputs o, which the same row [r | u] made. It takes two products,

    t = [delta | g] B                           B = | W     |
                                                    | W_out |
    gradient of | W     W_in |  +=  [delta | g]' [r | u]
                | W_out   .  |

where t is the gradient with respect to r. Then, as `cordstasks.rnn.recurrence` derives, with m for alpha times the gradient
with respect to the state, the step before has

    rate form      m <- m + alpha (t - m);  delta = f'(y) m
    current form   m <- m + alpha (f'(r) t - m);  delta = m

Rows lie `width` numbers apart. What is behind the numbers that are named above has no meaning: it is computed, since vectors
are multiplied whole, but never summed over.
"""

# mypy: ignore-errors
# what numba compiles looks like Python, but has types of its own

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from cordstasks.rnn.fast import activations, products
from cordstasks.rnn.fast.activations import OPTIONS, by_code
from cordstasks.rnn.fast.products import LANES, add_product
from cordstasks.utils import vectors

__all__ = ["LANES", "Back", "Network", "backward", "forward"]


class Network(NamedTuple):
    """A network and its trials, as compiled code sees them. All arrays are C-contiguous float32.

    Attributes
    ----------
    units, width : int
        Number of units, and of numbers in a row.
    activation : int
        See `cordstasks.rnn.fast.activations.CODES`.
    currents : bool
        Whether the network is in current form.
    alpha : ndarray of shape (width,)
        dt / tau.
    inputs : ndarray of shape (time, trial, channel)
        The last channel is one, for the bias.
    noise : ndarray of shape (time, trial, unit)
        Standard normal numbers; of no time steps without noise.
    scale : ndarray of shape (unit,)
        Standard deviation of the noise.
    initial : ndarray of shape (trial, unit)
        States before the first step.
    ahead : ndarray of shape (unit and channel, width)
        The matrix A.
    back : ndarray of shape (unit and output, width)
        The matrix B.
    rates : ndarray of shape (time + 1, trial, width)
        Rates before the first step and after each, and inputs. If there is no way back, a ring of two.
    active : ndarray of shape (time, trial, width)
        Rate form: f(s) of each step. If there is no way back, of one step.
    outputs : ndarray of shape (time, trial, output)
        After each step.
    """

    units: int
    width: int
    activation: int
    currents: bool
    alpha: np.ndarray
    inputs: np.ndarray
    noise: np.ndarray
    scale: np.ndarray
    initial: np.ndarray
    ahead: np.ndarray
    back: np.ndarray
    rates: np.ndarray
    active: np.ndarray
    outputs: np.ndarray


class Back(NamedTuple):
    """Gradients of a network. All arrays are C-contiguous float32.

    Attributes
    ----------
    outputs : ndarray of shape (time, trial, output)
        With respect to the outputs.
    rates : ndarray of shape (time, trial, unit)
        With respect to the rates, beside what comes through the outputs; of no time steps if there is no such gradient.
    weights : ndarray of shape (unit and output, width)
        With respect to the weights, see above; added to.
    initial : ndarray of shape (trial, unit)
        With respect to the initial states; overwritten.
    """

    outputs: np.ndarray
    rates: np.ndarray
    weights: np.ndarray
    initial: np.ndarray


def _rate_step(f, slope):
    @njit(**OPTIONS)
    def step(s, alpha, before, active, after):
        for k in range(len(s)):
            y = f(s[k])
            active[k] = y
            after[k] = before[k] + alpha[k] * (y - before[k])

    return step


def _current_step(f, slope):
    @njit(**OPTIONS)
    def step(s, alpha, state, after):
        for k in range(len(s)):
            h = state[k] + alpha[k] * (s[k] - state[k])
            state[k] = h
            after[k] = f(h)

    return step


def _rate_back(f, slope):
    @njit(**OPTIONS)
    def back(t, alpha, active, m, delta):
        for k in range(len(t)):
            m[k] += alpha[k] * (t[k] - m[k])
            delta[k] = slope(active[k]) * m[k]

    return back


def _current_back(f, slope):
    @njit(**OPTIONS)
    def back(t, alpha, after, m):
        for k in range(len(t)):
            m[k] += alpha[k] * (slope(after[k]) * t[k] - m[k])

    return back


_rate_step, _current_step = by_code(_rate_step), by_code(_current_step)
_rate_back, _current_back = by_code(_rate_back), by_code(_current_back)


@njit
def _add(left, right, sums, columns):
    """Sums += left @ right, in the first columns; as many numbers of a row of the left count as the right has lines."""
    add_product(
        left.ctypes.data,
        left.strides[0],
        left.strides[1],
        right.ctypes.data,
        right.strides[0],
        sums.ctypes.data,
        sums.strides[0],
        sums.shape[0],
        right.shape[0],
        -(-columns // LANES),
    )


# loops, since numba takes seconds to compile an assignment to a slice, for the message if the shapes do not fit


@njit
def _zeros(rows, columns):
    zeros = np.empty((rows, columns), np.float32)
    zeros.fill(0)
    return zeros


@njit
def _copy(source, source_column, target, target_column, columns):
    """Some columns of each row, to other columns."""
    for row in range(target.shape[0]):
        for column in range(columns):
            target[row, target_column + column] = source[row, source_column + column]


@njit
def _noise(drawn, scale, target):
    """Numbers (trial, unit) times the scale of each unit, and zeros behind them."""
    units = len(scale)
    for row in range(target.shape[0]):
        for column in range(units):
            target[row, column] = scale[column] * drawn[row, column]
        for column in range(units, target.shape[1]):
            target[row, column] = 0


@njit
def _fill(target, values, first):
    """Make every row the same, from the first of some columns."""
    for row in range(target.shape[0]):
        for column in range(len(values)):
            target[row, first + column] = values[column]


@njit
def _any(rows):
    """Whether there is a number that is not zero."""
    for value in rows.reshape(-1):  # noqa: SIM110 - numba compiles no generators
        if value != 0:
            return True
    return False


@njit
def _steps_that_matter(back, first, last):
    """The number of steps up to the last at which a gradient is not zero."""
    steps = len(back.outputs)
    while steps and not _any(back.outputs[steps - 1, first:last]):
        if len(back.rates) and _any(back.rates[steps - 1, first:last]):
            break
        steps -= 1
    return steps


def _digest():
    """Hash of the sources that are compiled: numba keys its cache by one function's file, not by those that it calls."""
    sources = (Path(module.__file__) for module in (activations, products, vectors))
    return hashlib.sha256(b"".join(source.read_bytes() for source in (*sources, Path(__file__)))).hexdigest()


def _made(digest, options):
    @njit(nogil=True, **options)
    def forward(network, first, last):
        """All steps of the trials from `first` to before `last`."""
        if digest == "":  # never; a variable of the enclosing function becomes part of the cache's key
            return
        trials, units, width, f = last - first, network.units, network.width, network.activation
        steps, channels, outputs = len(network.inputs), network.inputs.shape[2], network.outputs.shape[2]
        kept, active_kept = len(network.rates), len(network.active)
        alpha, s, state = _zeros(trials, width), _zeros(trials, width), _zeros(trials, width)
        _fill(alpha, network.alpha, 0)
        only_bias = np.zeros(channels, np.float32)
        only_bias[-1] = 1
        _copy(network.initial[first:last], 0, state, 0, units)
        if network.currents:
            rates = network.rates[0, first:last]  # those of a step to where it already is
            _current_step(f, state.reshape(-1), alpha.reshape(-1), state.reshape(-1), rates.reshape(-1))
        else:
            _copy(state, 0, network.rates[0, first:last], 0, width)
        for step in range(steps):
            before, after = network.rates[step % kept, first:last], network.rates[(step + 1) % kept, first:last]
            _copy(network.inputs[step, first:last], 0, before, units, channels)
            if len(network.noise):
                _noise(network.noise[step, first:last], network.scale, s)
            else:
                s.fill(0)
            _add(before, network.ahead, s, units + outputs)
            if step:
                _copy(s, units, network.outputs[step - 1, first:last], 0, outputs)
            if network.currents:
                _current_step(f, s.reshape(-1), alpha.reshape(-1), state.reshape(-1), after.reshape(-1))
            else:
                active = network.active[step % active_kept, first:last]
                _rate_step(f, s.reshape(-1), alpha.reshape(-1), before.reshape(-1), active.reshape(-1), after.reshape(-1))
        after = network.rates[steps % kept, first:last]
        _fill(after, only_bias, units)
        s.fill(0)
        _add(after, network.ahead, s, units + outputs)
        _copy(s, units, network.outputs[steps - 1, first:last], 0, outputs)

    @njit(nogil=True, **options)
    def backward(network, back, first, last):
        """The way back of the trials from `first` to before `last`."""
        if digest == "":
            return
        trials, units, width, f = last - first, network.units, network.width, network.activation
        channels, outputs = network.inputs.shape[2], network.outputs.shape[2]
        alpha, t, m = _zeros(trials, width), _zeros(trials, width), _zeros(trials, width)
        delta = m if network.currents else _zeros(trials, width)
        _fill(alpha, network.alpha, 0)
        for step in range(_steps_that_matter(back, first, last) - 1, -1, -1):
            after = network.rates[step + 1, first:last]
            _copy(back.outputs[step, first:last], 0, delta, units, outputs)
            t.fill(0)
            if len(back.rates):
                _copy(back.rates[step, first:last], 0, t, 0, units)
            _add(delta, network.back, t, units)
            _add(delta.T, after, back.weights, units + channels)
            if network.currents:
                _current_back(f, t.reshape(-1), alpha.reshape(-1), after.reshape(-1), m.reshape(-1))
            else:
                active = network.active[step, first:last]
                _rate_back(f, t.reshape(-1), alpha.reshape(-1), active.reshape(-1), m.reshape(-1), delta.reshape(-1))
        _fill(delta, np.zeros(outputs, np.float32), units)
        t.fill(0)
        _add(delta, network.back, t, units)
        _add(delta.T, network.rates[0, first:last], back.weights, units + channels)
        # the initial state acts through its leak, and through its rates
        if network.currents:
            rates, whole, through = network.rates[0, first:last], _zeros(trials, width), _zeros(trials, width)
            whole.fill(1)
            _current_back(f, t.reshape(-1), whole.reshape(-1), rates.reshape(-1), through.reshape(-1))
            t = through
        for trial in range(trials):
            for unit in range(units):
                leak = 1 / network.alpha[unit] - 1
                back.initial[first + trial, unit] = leak * m[trial, unit] + t[trial, unit]

    return forward, backward


try:
    forward, backward = _made(_digest(), {"cache": True})
except (RuntimeError, OSError):  # no folder that numba could keep compiled code in can be written
    forward, backward = _made("not kept", {})
