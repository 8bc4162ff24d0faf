"""The paper by one command: every figure of Soo et al. 2024 from this package's own runs, with what is claimed and measured.

`cordstasks.paper.parts` lists the figures, `cordstasks.paper.findings` holds what one of them found, and
`cordstasks.paper.reproduce` makes them. ``python -m cordstasks.paper`` is the command.
"""
