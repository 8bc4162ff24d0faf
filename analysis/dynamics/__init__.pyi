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
    "principal_trajectories",
    "response_latency",
]
