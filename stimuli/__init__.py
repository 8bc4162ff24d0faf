"""What the screen shows, in NumPy alone: movies made from parameters in degrees, ms and Hz."""

from cordstasks.stimuli.discs import discs
from cordstasks.stimuli.display import Display
from cordstasks.stimuli.movie import Movie, join
from cordstasks.stimuli.random_dots import RandomDots, random_dots

VERSION = 1
"""Changes when the pixels of any stimulus change; whatever stores results computed from pixels keys them by it."""

__all__ = ["VERSION", "Display", "Movie", "RandomDots", "discs", "join", "random_dots"]
