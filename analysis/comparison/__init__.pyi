from .activity import Comparison, compare_activity, on_common_times
from .architectures import architecture_table, closer_to
from .canonical import Alignment, align, canonical_correlations, cross_validated_correlations, pairwise_correlations
from .embedding import Embedding, cluster, embed
from .kernel_alignment import kernel_alignment_distances
from .permutation import PermutationNull, permutation_null
from .shape import linear_cka, pairwise_distances, shape_distance

__all__ = [
    "Alignment",
    "Comparison",
    "Embedding",
    "PermutationNull",
    "align",
    "architecture_table",
    "canonical_correlations",
    "closer_to",
    "cluster",
    "compare_activity",
    "cross_validated_correlations",
    "embed",
    "kernel_alignment_distances",
    "linear_cka",
    "on_common_times",
    "pairwise_correlations",
    "pairwise_distances",
    "permutation_null",
    "shape_distance",
]
