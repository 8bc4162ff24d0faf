"""Training: trials as tensors, losses, and one trainer for visual tasks and one for abstract tasks."""
