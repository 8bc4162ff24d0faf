"""A model plugin for Brain-Score (https://www.brain-score.org): copy this folder to brainscore_vision/models/cordsnet.

Brain-Score pins versions that exclude some of those that cordstasks needs, so install both in an environment of their own:
``pip install brainscore_vision``, then ``pip install --no-deps cordstasks`` and what an import of it lacks.
"""

from brainscore_vision import model_registry

from .model import CordsNetBrain

model_registry["cordsnet-r8"] = lambda: CordsNetBrain("cordsnet-r8")
