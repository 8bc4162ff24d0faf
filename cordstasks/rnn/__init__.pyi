from . import connectivity
from .network import RNN
from .published import load_published
from .stack import RNNStack
from .system import RNNSystem

__all__ = ["RNN", "RNNStack", "RNNSystem", "connectivity", "load_published"]
