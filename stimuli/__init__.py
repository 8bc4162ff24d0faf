"""Stimuli: movies made with NumPy alone, from parameters in degrees, ms and Hz."""

from cordstasks.stimuli.animals import CATS, DOGS, FEATURES, LINES, Pose, animal, morph, prototype
from cordstasks.stimuli.discs import discs
from cordstasks.stimuli.display import Display
from cordstasks.stimuli.image_folder import ImageFolder, LabelledPicture
from cordstasks.stimuli.movie import Movie, join
from cordstasks.stimuli.numerosity import CONTROLS, Dots, Numerosity, numerosity, place_dots
from cordstasks.stimuli.pictures import read_picture
from cordstasks.stimuli.random_dots import RandomDots, random_dots
from cordstasks.stimuli.saccade import saccade_display

VERSION = 2
"""Changes when the pixels of any stimulus change; whatever stores results computed from pixels keys them by it."""

__all__ = [
    "CATS",
    "CONTROLS",
    "DOGS",
    "FEATURES",
    "LINES",
    "VERSION",
    "Display",
    "Dots",
    "ImageFolder",
    "LabelledPicture",
    "Movie",
    "Numerosity",
    "Pose",
    "RandomDots",
    "animal",
    "discs",
    "join",
    "morph",
    "numerosity",
    "place_dots",
    "prototype",
    "random_dots",
    "read_picture",
    "saccade_display",
]
