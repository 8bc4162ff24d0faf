"""Comparison of networks, or of networks and recordings: canonical correlations, shape metrics, embeddings."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
