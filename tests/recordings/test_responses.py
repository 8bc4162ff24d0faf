"""Responses of models in the form of a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cordstasks.cordsnet.simulator import Simulator
from cordstasks.errors import InputError
from cordstasks.recordings import read_pictures, respond, respond_run
from cordstasks.recordings.pictures import picture_paths
from cordstasks.runs import train
from cordstasks.stimuli import Movie
from helpers import settling_cordsnet


@pytest.fixture(scope="module")
def network():
    return settling_cordsnet(depth=4)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


class TestImages:
    def test_bins_average_the_networks_own_activity(self, network, images):
        bins = np.array([[-10.0, -2], [-1, 3], [4, 10], [11, 12.5]])
        found = respond(
            network, images, bins_ms=bins, image_ms=6.0, areas=(1, 3), stimulus_ids=["a", "b", "c"], device="cpu"
        )
        recorded = network.record(images, blank_steps=100, image_steps=3, after_steps=4, areas=(1, 3))
        maps = {area: each.detach().flatten(2).numpy() for area, each in recorded.items()}  # (step, image, unit)
        for area in (1, 3):
            rates, steps = found.rates[:, :, found.regions == f"area {area}"], maps[area]
            rest, shown = steps[99], steps[100:]
            # the state after step k stands for the time from 2 k to 2 (k + 1) ms
            np.testing.assert_allclose(rates[:, 0], rest, atol=1e-5)
            np.testing.assert_allclose(rates[:, 1], (rest + 2 * shown[0] + shown[1]) / 4, atol=1e-5)
            np.testing.assert_allclose(rates[:, 2], shown[2:5].mean(0), atol=1e-5)
            np.testing.assert_allclose(rates[:, 3], (shown[5] * 1.0 + shown[6] * 0.5) / 1.5, atol=1e-5)
        assert found.stimulus_ids.tolist() == ["a", "b", "c"]
        assert found.areas == ("area 1", "area 3")

    def test_a_width_gives_bins_from_onset_to_the_end(self, network, images):
        found = respond(network, images, bins_ms=4.0, image_ms=10.0, areas=0, device="cpu")
        assert found.bins_ms.tolist() == [[0, 4], [4, 8]]

    def test_pooled_maps_are_means_of_flat_ones(self, network, images):
        flat = respond(network, images, bins_ms=6.0, image_ms=12.0, areas=2, device="cpu")
        pooled = respond(network, images, bins_ms=6.0, image_ms=12.0, areas=2, side=1, device="cpu")
        channels = pooled.units
        np.testing.assert_allclose(pooled.rates, flat.rates.reshape(3, 2, channels, -1).mean(3), atol=1e-6)

    def test_images_of_other_sizes_are_resized_one_by_one(self, network, images):
        mixed = [images[0], np.tile(images[1], (2, 2, 1)), images[2]]
        found = respond(network, mixed, bins_ms=6.0, image_ms=6.0, areas=0, device="cpu")
        same = respond(network, images, bins_ms=6.0, image_ms=6.0, areas=0, device="cpu")
        np.testing.assert_allclose(found.rates[[0, 2]], same.rates[[0, 2]], atol=1e-6)
        assert np.abs(found.rates[1] - same.rates[1]).max() > 1e-3

    def test_projections_keep_inner_products_approximately_and_are_repeatable(self, network, images):
        flat = respond(network, images, bins_ms=6.0, image_ms=6.0, areas=(0, 3), device="cpu")
        one, same, other = (
            respond(network, images, bins_ms=6.0, image_ms=6.0, areas=(0, 3), projection=2048, rng=seed, device="cpu")
            for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(one.rates, same.rates)
        assert np.abs(one.rates - other.rates).max() > 0
        area = flat.select(region="area 0").rates[:, 0].astype(np.float64)
        small = one.select(region="area 0").rates[:, 0].astype(np.float64)
        assert small.shape == (3, 2048) < area.shape
        np.testing.assert_allclose(small @ small.T, area @ area.T, rtol=0.2)
        # an area of fewer features stays as it is
        np.testing.assert_array_equal(one.select(region="area 3").rates, flat.select(region="area 3").rates)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"bins_ms": 300.0}, "bins_ms=300: is longer than the 20 ms shown"),
            ({"bins_ms": [1.0, 2.0, 3.0]}, r"bins_ms has shape \(3,\)"),
            ({"image_ms": 0}, "image_ms=0: give a duration"),
            ({"areas": 4}, "area"),
            ({"stimulus_ids": ["a"]}, "stimulus_ids has 1 names for 3 stimuli"),
            ({"projection": 0}, "projection=0"),
        ],
    )
    def test_bad_input_is_refused(self, network, images, changes: dict, message: str):
        with pytest.raises(InputError, match=message):
            respond(network, images, **{"image_ms": 20.0, "device": "cpu", **changes})

    def test_no_images_are_refused(self, network, images):
        with pytest.raises(InputError, match="stimuli has shape"):
            respond(network, images[0], device="cpu")
        with pytest.raises(InputError, match="stimuli is empty"):
            respond(network, [], device="cpu")


def test_movies_are_watched_by_a_front_end(network, images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CORDSTASKS_CACHE", str(tmp_path))
    movies = [Movie(images[[0, place]], [0.0, 8.0], duration_ms=20.0) for place in (1, 2)]
    found = respond(network, movies, bins_ms=4.0, areas=(0, 3), device="cpu")
    assert found.rates.shape[:2] == (2, 5)
    simulator = Simulator(network, areas=(0, 3))
    state = simulator.spontaneous(1)
    simulator.step(state, simulator.drives(network.preprocess(images[:1])), 100)
    expected = []
    for step in range(10):
        image = images[:1] if step < 4 else images[2:3]
        simulator.step(state, simulator.drives(network.preprocess(image)))
        expected.append(state[3].flatten().numpy().copy())
    means = np.array(expected).reshape(5, 2, -1).mean(1)
    rates = found.select(region="area 3").rates[1]
    np.testing.assert_allclose(rates, means, atol=2e-3 * np.linalg.norm(means, axis=1).max())
    with pytest.raises(InputError, match="movies last from 20 to 30 ms"):
        respond(network, [movies[0], Movie(images[:1], [0.0], duration_ms=30.0)], bins_ms=4.0, device="cpu")


def test_the_units_of_a_trained_network(tmp_path: Path):
    run = train("perceptual-dm", out=tmp_path / "run", device="cpu", units=6, seeds=(0, 1), steps=2, batch=4)
    batch = run.task.sample(9, seed=1, dt=run.settings.dt)
    found = respond_run(run, batch, network=1)
    _, states = run.networks[1](torch.as_tensor(batch.inputs), return_states=True)
    np.testing.assert_allclose(found.rates, states.detach().numpy(), atol=1e-6)
    assert found.bins_ms[1].tolist() == [20, 40]
    assert found.stimuli[:2] == ("trial=0", "trial=1")
    (condition,) = (name for name in batch.conditions if name == "coherence" or len(batch.conditions) == 1)
    grouped = respond_run(run, batch, by=[condition])
    assert len(grouped.stimuli) == len(np.unique(batch.conditions[condition]))
    with pytest.raises(InputError, match="by='speed': the trials have the conditions"):
        respond_run(run, batch, by=["speed"])
    with pytest.raises(InputError, match="network=2: the run has 2"):
        respond_run(run, batch, network=2)


class TestPictures:
    def _folder(self, tmp_path: Path) -> Path:
        for place, name in enumerate(("owl.png", "sub/cat.jpeg", "fig.v2.png")):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            Image.fromarray(np.full((4 + place, 5, 3), 10 * place, np.uint8)).save(tmp_path / name)
        return tmp_path

    def test_they_are_found_by_id_with_or_without_ending(self, tmp_path: Path):
        found = read_pictures(self._folder(tmp_path), ["fig.v2", "owl.png", "cat"])
        assert [each.shape for each in found] == [(6, 5, 3), (4, 5, 3), (5, 5, 3)]

    def test_a_table_says_which_file_is_whose(self, tmp_path: Path):
        (self._folder(tmp_path) / "stimuli.csv").write_text("stimulus_id,filename\n17,owl.png\n4,cat.jpeg\n")
        assert [path.name for path in picture_paths(tmp_path, ["4", "17"]) if path] == ["cat.jpeg", "owl.png"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"stimulus_id,file\n17,owl.png\n17,cat.jpeg\n", "has owl.png and cat.jpeg for the stimulus '17'; give one"),
            (b"stimulus_id;file\n17;owl.png\n", "has the column 'stimulus_id;file'; give stimulus_id and file"),
            ("stimulus_id,file\n17,owl.png\n".encode("utf-16"), "is not in UTF-8; save it as CSV UTF-8"),
            (b'stimulus_id,file\n"' + b"x" * 140_000 + b'",owl.png\n', "cannot be read .*; correct it"),
        ],
    )
    def test_a_table_that_cannot_be_meant_is_refused(self, content: bytes, message: str, tmp_path: Path):
        (self._folder(tmp_path) / "stimuli.csv").write_bytes(content)
        with pytest.raises(InputError, match=f"stimuli={tmp_path}: its table stimuli.csv {message}"):
            picture_paths(tmp_path, ["17"])

    def test_other_tables_and_folders_named_like_tables_do_not_matter(self, tmp_path: Path):
        (self._folder(tmp_path) / "a.csv").mkdir()
        (tmp_path / "b.csv").write_text("stimulus_id,object_name\nowl,bird\n")
        assert picture_paths(tmp_path, ["owl"]) == [tmp_path / "owl.png"]

    def test_missing_and_ambiguous_ones_are_named(self, tmp_path: Path):
        folder = self._folder(tmp_path)
        with pytest.raises(InputError, match="2 of 3 stimuli have no picture, such as 'dog'"):
            read_pictures(folder, ["owl", "dog", "ape"])
        Image.new("RGB", (3, 3)).save(folder / "owl.jpg")
        with pytest.raises(InputError, match="are both named like stimulus 'owl'"):
            read_pictures(folder, ["owl"])
        with pytest.raises(InputError, match="there is no such folder"):
            read_pictures(folder / "gone", ["owl"])
