"""Tuning of any recorded units to any conditions.

Activity is ``(trial, time, unit)``; `window_mean` computes from it the responses ``(trial, unit)`` that most functions take.
A condition is a column of a table of conditions, such as ``batch.conditions["number"]``: numbers or names, one per trial.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
