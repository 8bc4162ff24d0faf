"""Stacks of small networks on CPUs: the whole time loop of a network, forward and backward, in compiled code.

A step of one small network is little work. What PyTorch adds to it, step by step, is the start of each operation, and the
way through the cache of what one operation hands to the next. Here, a compiled function takes some trials of one network
through all steps, and threads have networks of their own.

Modules, from the bottom up: `products` (of small matrices, as vector instructions), `activations` (and their derivatives),
`steps` (the time loop; the formulas are there), `engine` (the differentiable function, the division of the work, and the
check against `cordstasks.rnn.recurrence`, which is used wherever this is not).
"""

from cordstasks.rnn.fast.engine import Stack, run, usable, why_not

__all__ = ["Stack", "run", "usable", "why_not"]
