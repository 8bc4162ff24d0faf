from .pipeline import pretrain
from .settings import PretrainSettings

__all__ = ["PretrainSettings", "pretrain"]
