from .loading import TrainedNetworks, TrainedRun, load_run
from .training import train

__all__ = ["TrainedNetworks", "TrainedRun", "load_run", "train"]
