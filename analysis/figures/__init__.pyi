from .abstract import example_trials, learning_curves, shown_trials
from .accuracies import accuracies
from .behaviour import boundary, confusion, location_by_delay, performance
from .beside import ramps, similarity_over_time
from .comparison import aligned_trajectories, dendrogram, distance_matrix, embedding_map
from .description import describe
from .differences import closer_to_reference
from .direction import direction_population
from .dynamics import early_and_late, memory_states, regimes, spectra_of_areas, spectrum
from .general import contact_sheet, learning_curve, observers, psychometric, save
from .kernels import kernel, kernels_to_decision
from .perturbation import perturbation
from .predictivity import predictivity_by_area, predictivity_map, predictivity_over_time
from .reaction_times import reaction_time_observers, reaction_times
from .robustness import cost_and_parameters, noise_levels, responses_over_time
from .trajectories import class_trajectories
from .tuning import aligned_tuning, heat_map, peristimulus

__all__ = [
    "accuracies",
    "aligned_trajectories",
    "aligned_tuning",
    "boundary",
    "class_trajectories",
    "closer_to_reference",
    "confusion",
    "contact_sheet",
    "cost_and_parameters",
    "dendrogram",
    "describe",
    "direction_population",
    "distance_matrix",
    "early_and_late",
    "embedding_map",
    "example_trials",
    "heat_map",
    "kernel",
    "kernels_to_decision",
    "learning_curve",
    "learning_curves",
    "location_by_delay",
    "memory_states",
    "noise_levels",
    "observers",
    "performance",
    "peristimulus",
    "perturbation",
    "predictivity_by_area",
    "predictivity_map",
    "predictivity_over_time",
    "psychometric",
    "ramps",
    "reaction_time_observers",
    "reaction_times",
    "regimes",
    "responses_over_time",
    "save",
    "shown_trials",
    "similarity_over_time",
    "spectra_of_areas",
    "spectrum",
]
