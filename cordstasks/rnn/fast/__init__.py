"""Stacks of small networks on CPUs: the whole time loop of a network, forward and backward, in compiled code."""

from cordstasks.rnn.fast.engine import Stack, run, usable, why_not

__all__ = ["Stack", "run", "usable", "why_not"]
