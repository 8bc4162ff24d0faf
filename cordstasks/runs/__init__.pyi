from .loading import TrainedNetworks, TrainedRun, load_run
from .page import write_report
from .training import train

__all__ = ["TrainedNetworks", "TrainedRun", "load_run", "train", "write_report"]
