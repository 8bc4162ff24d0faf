"""Runs: everything between the settings of a training and its finished folder."""
