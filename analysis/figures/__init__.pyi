from .abstract import example_trials, learning_curves, shown_trials
from .behaviour import boundary, confusion, performance, place_by_delay
from .comparison import aligned_trajectories, dendrogram, distance_matrix, embedding_map
from .description import describe
from .direction import direction_population
from .general import contact_sheet, learning_curve, observers, psychometric, save
from .tuning import aligned_tuning, heat_map, peristimulus

__all__ = [
    "aligned_trajectories",
    "aligned_tuning",
    "boundary",
    "confusion",
    "contact_sheet",
    "dendrogram",
    "describe",
    "direction_population",
    "distance_matrix",
    "embedding_map",
    "example_trials",
    "heat_map",
    "learning_curve",
    "learning_curves",
    "observers",
    "performance",
    "peristimulus",
    "place_by_delay",
    "psychometric",
    "save",
    "shown_trials",
]
