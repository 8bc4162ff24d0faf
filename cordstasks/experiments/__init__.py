"""Experiments over many trained networks: sweeps and comparisons; and predictions of recordings."""
