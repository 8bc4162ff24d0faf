from .checkpoints import load, save
from .network import CordsNet, Preprocessing

__all__ = ["CordsNet", "Preprocessing", "load", "save"]
