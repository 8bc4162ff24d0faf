"""The tasks as Gymnasium environments, on neurogym's `TrialEnv`."""
