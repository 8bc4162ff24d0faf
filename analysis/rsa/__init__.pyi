from .compare import RsaComparison, compare_dissimilarities, noise_ceiling, rank_correlation
from .dissimilarity import crossvalidated_dissimilarities, dissimilarities
from .export import to_rsatoolbox

__all__ = [
    "RsaComparison",
    "compare_dissimilarities",
    "crossvalidated_dissimilarities",
    "dissimilarities",
    "noise_ceiling",
    "rank_correlation",
    "to_rsatoolbox",
]
