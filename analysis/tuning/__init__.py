"""Tuning of any recorded units to any conditions.

Activity is ``(trial, time, unit)``; `window_mean` makes of it the responses ``(trial, unit)`` that most functions take.
A condition is a column of a table of conditions, such as ``batch.conditions["number"]``: numbers or names, one a trial.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
