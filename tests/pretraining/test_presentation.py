"""How images are shown: augmentation, mixing, and what each data set has of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cordstasks.errors import InputError
from cordstasks.pretraining.data import ImageSet
from cordstasks.pretraining.presentation import AUGMENTATIONS, Augmentation, Presentation, augmentation_of

Images = Callable[..., ImageSet]
Shown = Callable[..., Presentation]


@pytest.fixture
def images(image_set: Images) -> Callable[..., Tensor]:
    return lambda count, size: image_set(count, size).images


@pytest.mark.parametrize("size", [24, 32, 47])
def test_unchanged_images_are_the_test_images_or_their_mirror_images(
    size: int, image_set: Images, presentation: Shown
) -> None:
    images = image_set(40, size).images
    shown = presentation(32, augmentation=Augmentation(shift=0.0))
    expected = shown.test(images)
    x = shown.augmented(images, torch.Generator().manual_seed(1))
    as_they_are = (x - expected).abs().amax((1, 2, 3)) < 1e-4
    mirrored = (x - expected.flip(3)).abs().amax((1, 2, 3)) < 1e-4
    inside = slice(2, -2)  # near the border, resizing repeats the border and the map shows what is beyond it
    if size < 32:
        as_they_are = (x - expected)[..., inside, inside].abs().amax((1, 2, 3)) < 1e-4
        mirrored = (x - expected.flip(3))[..., inside, inside].abs().amax((1, 2, 3)) < 1e-4
    assert bool((as_they_are ^ mirrored).all())
    assert 8 < int(mirrored.sum()) < 32


def test_shifts_move_images_and_leave_the_mean_colour_behind(image_set: Images, presentation: Shown) -> None:
    images = torch.zeros(60, 32, 32, 3, dtype=torch.uint8)
    images[:, 15:18, 15:18] = 255
    shown = presentation(32, augmentation=Augmentation(shift=0.25))
    x = shown.augmented(images, torch.Generator().manual_seed(1))
    light = x.mean(1)
    peaks = torch.stack([light.amax(2).argmax(1), light.amax(1).argmax(1)], 1).float()
    assert peaks.min() >= 16 - 10
    assert peaks.max() <= 16 + 10
    assert (peaks.std(0) > 3).all()
    assert bool((x[light.amax((1, 2)) > 0].abs().amin((1, 2, 3)) == 0).all())  # normalised, the mean colour is zero


def test_each_change_has_an_effect_of_its_own_and_is_repeatable(image_set: Images, presentation: Shown) -> None:
    images = image_set(6, 32).images
    seen = []
    for change in ("rotation", "zoom", "stretch", "shear", "colour", "elastic", "operations"):
        size = {"rotation": 20.0, "operations": 2}.get(change, 0.3)
        shown = presentation(32, augmentation=Augmentation(shift=0.0, **{change: size}))
        x, again, other = (shown.augmented(images, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
        assert torch.equal(x, again), change
        assert not torch.allclose(x, other), change
        assert x.isfinite().all()
        assert all(not torch.allclose(x, before) for before in seen)
        seen.append(x)


def test_targets_are_as_mixed_as_the_images(image_set: Images, presentation: Shown) -> None:
    size = 32
    images = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    images[1] = 255
    black, white = presentation(size).test(images)[:, 0, 0, 0].tolist()
    shown = presentation(size, classes=2, augmentation=Augmentation(shift=0.0, mixing=1.0))
    kinds, mixed = set(), 0
    for seed in range(40):
        x, targets = shown.training(images, torch.tensor([0, 1]), torch.Generator().manual_seed(seed))
        whiteness = (x[:, 0] - black) / (white - black)
        torch.testing.assert_close(whiteness.mean((1, 2)), targets[:, 1], rtol=0, atol=0.05)
        torch.testing.assert_close(targets.sum(1), torch.ones(2))
        if 0.1 < float(targets[0, 1]) < 0.9:
            mixed += 1
            kinds.add("cut" if float(whiteness[0].max() - whiteness[0].min()) > 0.9 else "mean")
    assert kinds == {"cut", "mean"}
    assert mixed > 5


def test_the_last_images_are_not_mixed(image_set: Images, presentation: Shown) -> None:
    data = image_set(8, 32)
    shown = presentation(32, augmentation=Augmentation(mixing=1.0))
    mixed = []
    for progress in (0.0, 0.85, 0.95, 1.0):
        targets = [
            shown.training(data.images, data.labels, torch.Generator().manual_seed(seed), progress=progress)[1]
            for seed in range(10)
        ]
        mixed.append(any(not bool(((t == 0) | (t == 1)).all()) for t in targets))
    assert mixed == [True, True, False, False]


def test_elastic_displacements_are_smooth_and_as_large_as_was_asked(presentation: Shown) -> None:
    ramp = torch.linspace(0, 255, 32).round().to(torch.uint8).expand(40, 32, 32)[..., None].expand(-1, -1, -1, 3)
    still = presentation(32, augmentation=Augmentation(shift=0.0, flip=0.0, border=True)).test(ramp)
    moved = presentation(32, augmentation=Augmentation(shift=0.0, flip=0.0, border=True, elastic=0.05))
    x = moved.augmented(ramp, torch.Generator().manual_seed(0))
    pixels = (x - still)[:, 0, :, 8:24] * 0.2 * 31  # the ramp's slope is one level of 31 a pixel
    assert 0.6 < float(pixels.std()) < 2.4  # 5 % of 32 px is 1.6
    assert float((pixels[:, 1:] - pixels[:, :-1]).abs().mean()) < 0.3 * float(pixels.abs().mean())


def test_the_border_continues_where_the_background_is_not_the_mean(presentation: Shown) -> None:
    black = torch.zeros(20, 32, 32, 3, dtype=torch.uint8)
    for border in (False, True):
        shown = presentation(32, augmentation=Augmentation(shift=0.3, border=border))
        x = shown.augmented(black, torch.Generator().manual_seed(1))
        assert (float(x.max()) < -1.5) is border


def test_random_operations_leave_the_global_generator_alone(image_set: Images, presentation: Shown) -> None:
    before = torch.random.get_rng_state()
    shown = presentation(32, augmentation=AUGMENTATIONS["cifar"])
    shown.training(image_set(4, 32).images, torch.arange(4) % 3, torch.Generator().manual_seed(1))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_each_data_set_has_the_papers_augmentation() -> None:
    own = {name: augmentation_of(None, name) for name in ("mnist", "fashion-mnist", "cifar10", "cifar100", "imagenet")}
    assert (own["mnist"].rotation, own["mnist"].shift, own["mnist"].mixing) == (5.0, 0.05, 0.0)
    assert own["mnist"].elastic > 0
    assert own["fashion-mnist"].mixing == own["cifar10"].mixing == 1.0
    assert own["cifar10"] == own["cifar100"]
    assert own["cifar10"].operations == own["imagenet"].operations == 2
    assert [own[name].flip for name in own] == [0.0, 0.5, 0.5, 0.5, 0.5]
    assert augmentation_of("strong", "mnist").flip == 0.0  # the mirror image of a 2 is none
    assert augmentation_of(None) == AUGMENTATIONS["light"]
    with pytest.raises(InputError, match="augmentation 'cifra' is unknown; did you mean 'cifar'"):
        augmentation_of("cifra", "cifar10")
