"""Streamed activity, against the recording."""

from __future__ import annotations

import numpy as np
import pytest

from cordstasks.cordsnet.streaming import stream, stream_together
from cordstasks.errors import InputError
from helpers import settling_cordsnet


def pictures(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (count, 40, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("areas", [None, [1, 3]])
def test_blocks_are_the_recording(areas: list[int] | None) -> None:
    network, images = settling_cordsnet(depth=4), pictures(2)
    blocks = list(stream(network, iter(images), blank_steps=9, image_steps=5, after_steps=2, areas=areas, block=3))
    assert [len(block) for block in blocks] == [3, 3, 1] * 2
    recorded = network.record(images, blank_steps=9, image_steps=5, after_steps=2)
    streamed = np.concatenate(blocks).reshape(2, 7, -1)
    for number in range(2):
        expected = np.concatenate([recorded[area][9:, number].flatten(1) for area in areas or range(4)], axis=1)
        assert streamed.dtype == np.float32
        np.testing.assert_allclose(streamed[number], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("together", [1, 2, 3, 7])
def test_several_images_at_a_time_are_each_alone(together: int) -> None:
    network, images = settling_cordsnet(depth=4), pictures(5)
    steps = {"blank_steps": 9, "image_steps": 5, "after_steps": 2, "areas": [0, 3], "block": 3}
    alone = np.concatenate(list(stream(network, images, **steps))).reshape(5, 7, -1)
    blocks = list(stream_together(network, iter(images), together=together, **steps))
    sizes = [min(together, 5 - first) for first in range(0, 5, together)]
    assert [block.shape[:2] for block in blocks] == [(size, length) for size in sizes for length in (3, 3, 1)]
    found = np.concatenate([np.concatenate(blocks[first : first + 3], 1) for first in range(0, len(blocks), 3)])
    np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-5)


def test_an_image_is_simulated_when_it_is_wanted() -> None:
    drawn = []

    def images():  # type: ignore[no-untyped-def]
        for number, picture in enumerate(pictures(3)):
            drawn.append(number)
            yield picture

    blocks = stream(settling_cordsnet(), images(), blank_steps=1, image_steps=2, block=2)
    next(blocks)
    assert drawn == [0]
    assert len(list(blocks)) == 2


def test_mistakes() -> None:
    network = settling_cordsnet()
    with pytest.raises(InputError, match="there is no area 2"):
        next(stream(network, pictures(1), areas=[2]))
    with pytest.raises(InputError, match="block=0"):
        next(stream(network, pictures(1), block=0))
    with pytest.raises(InputError, match="together=0"):
        next(stream_together(network, pictures(1), together=0))
    with pytest.raises(InputError, match="expected uint8"):
        next(stream(network, pictures(1).astype(float)))
