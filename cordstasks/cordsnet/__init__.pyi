from .architecture import Drive
from .checkpoints import load, save
from .network import CordsNet, Preprocessing
from .system import CordsNetSystem, area_operator

__all__ = ["CordsNet", "CordsNetSystem", "Drive", "Preprocessing", "area_operator", "load", "save"]
