"""Images, networks and contexts that the tests of pre-training share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cordstasks.cordsnet import Preprocessing
from cordstasks.pretraining.context import Context
from cordstasks.pretraining.data import ImageSet
from cordstasks.pretraining.datasets import Pair
from cordstasks.pretraining.deadline import Deadline
from cordstasks.pretraining.feedforward import FeedForward
from cordstasks.pretraining.presentation import Augmentation, Presentation
from cordstasks.pretraining.processes import Processes
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.utils.run_folder import RunFolder

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def make_images(count: int, size: int, *, classes: int = 3, seed: int = 0, channels: int = 3) -> ImageSet:
    """Noise, darker than it could be, in which one colour (or the level of grey) tells the class."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 128, (count, size, size, channels), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % classes
    for row, label in enumerate(labels.tolist()):
        images[row, ..., label % channels] += 60 * (1 + label // channels)
    return ImageSet(images, labels, tuple(f"class {number}" for number in range(classes)))


def make_presentation(size: int, *, classes: int = 3, augmentation: Augmentation | None = None) -> Presentation:
    return Presentation(
        size, MEAN, STD, classes=classes, device=torch.device("cpu"), augmentation=augmentation or Augmentation()
    )


@torch.no_grad()
def make_cnn(depth: int, *, in_channels: int = 3, seed: int = 0) -> FeedForward:
    """A CNN whose normalisation layers all have statistics and parameters of their own."""
    torch.manual_seed(seed)
    cnn = FeedForward(depth, classes=3, in_channels=in_channels)
    for module in cnn.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.1, 0.6)
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(0, 0.3)
    return cnn.eval()


@pytest.fixture(scope="session")
def image_set() -> Callable[..., ImageSet]:
    return make_images


@pytest.fixture(scope="session")
def presentation() -> Callable[..., Presentation]:
    return make_presentation


@pytest.fixture(scope="session")
def random_cnn() -> Callable[..., FeedForward]:
    return make_cnn


@pytest.fixture(scope="session")
def make_context() -> Callable[..., Context]:
    """A maker of contexts in a folder, with 24 training images, 9 test images of 32 px, and small numbers everywhere."""

    def make(folder: Path, *, channels: int = 3, deadline: Deadline | None = None, **given: Any) -> Context:
        small: dict[str, Any] = {"depth": 2, "image_size": 32, "seed": 3, "test_images": 6, "check_images": 4}
        small |= {f"{stage}_batch": 4 for stage in ("cnn", "match", "linear", "anneal", "finetune", "equilibrium", "direct")}
        small |= {f"{stage}_images": 8 for stage in ("match", "linear", "anneal", "finetune", "direct", "dense")}
        small |= {"blank_steps": 12, "image_steps": 10, "after_steps": 9, "image_window": 3, "after_window": 2}
        small |= {"cnn_epochs": 2, "anneal_epochs": 3, "equilibrium_flat_images": 2}
        settings = PretrainSettings(**{**small, **given})
        preprocessing = Preprocessing(MEAN[:channels], STD[:channels])
        train, test = (make_images(count, 32, seed=seed, channels=channels) for count, seed in ((24, 0), (9, 1)))
        shown = Presentation(
            settings.image_size, preprocessing.mean, preprocessing.std, classes=3, device=torch.device("cpu")
        )
        folder.mkdir(exist_ok=True)
        return Context(
            settings,
            Pair(train, test, preprocessing),
            shown,
            RunFolder(folder),
            torch.device("cpu"),
            deadline or Deadline(),
            "python -m cordstasks.pretrain",
            Processes(torch.device("cpu")),
        )

    return make


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of twelve small images, and four of each to test with."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 4)):
        for label, name in enumerate(("ape", "bee", "cow")):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 128, (28, 28, 3), dtype=np.uint8)
                pixels[..., label] += 100
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")
    return folder
