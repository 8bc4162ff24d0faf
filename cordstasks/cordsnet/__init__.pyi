from .architecture import Drive
from .checkpoints import load, save
from .network import CordsNet, Preprocessing

__all__ = ["CordsNet", "Drive", "Preprocessing", "load", "save"]
