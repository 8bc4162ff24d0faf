"""Experiments over many trained networks: sweeps and comparisons."""
