from .linear import Decoding, decode
from .population_vector import population_angle

__all__ = [
    "Decoding",
    "decode",
    "population_angle",
]
