from .similarity import dynamical_distances
from .trajectories import (
    DiscriminantAxis,
    PrincipalTrajectories,
    discriminant_axis,
    distance_from_rest,
    principal_trajectories,
    response_latency,
)

__all__ = [
    "DiscriminantAxis",
    "PrincipalTrajectories",
    "discriminant_axis",
    "distance_from_rest",
    "dynamical_distances",
    "principal_trajectories",
    "response_latency",
]
