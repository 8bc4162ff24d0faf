from .abstract import example_trials, learning_curves, shown_trials
from .behaviour import boundary, confusion, performance, place_by_delay
from .comparison import aligned_trajectories, dendrogram, distance_matrix, embedding_map
from .direction import direction_population
from .general import contact_sheet, learning_curve, observers, psychometric, save
from .kernels import kernel
from .perturbation import perturbation
from .reaction_times import reaction_time_observers, reaction_times
from .tuning import aligned_tuning, heat_map, peristimulus

__all__ = [
    "aligned_trajectories",
    "aligned_tuning",
    "boundary",
    "confusion",
    "contact_sheet",
    "dendrogram",
    "direction_population",
    "distance_matrix",
    "embedding_map",
    "example_trials",
    "heat_map",
    "kernel",
    "learning_curve",
    "learning_curves",
    "observers",
    "performance",
    "peristimulus",
    "perturbation",
    "place_by_delay",
    "psychometric",
    "reaction_time_observers",
    "reaction_times",
    "save",
    "shown_trials",
]
