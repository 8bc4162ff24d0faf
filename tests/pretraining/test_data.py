"""Image folders, named data sets, images read from disk, broken files."""

from __future__ import annotations

import gzip
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cordstasks.cordsnet import CordsNet, Preprocessing
from cordstasks.errors import InputError, Note
from cordstasks.pretraining.data import ImageFiles, ImageSet, ahead, kept_out, normalise, random_crop
from cordstasks.pretraining.datasets import read_dataset, read_folder
from cordstasks.pretraining.settings import PretrainSettings

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, count in (("wolf", 2), ("ape", 3)):
        (tmp_path / name).mkdir()
        for number in range(count):
            pixels = rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    (tmp_path / "ape" / "notes.txt").write_text("not an image")
    return tmp_path


class TestFolders:
    def test_images_come_with_the_labels_of_their_folders(self, folder: Path) -> None:
        data, broken = read_folder(folder, 32)
        assert isinstance(data, ImageSet)
        assert (data.classes, data.channels, broken) == (("ape", "wolf"), 3, 0)
        assert data.labels.tolist() == [0, 0, 0, 1, 1]
        for row, path in ((0, "ape/0.png"), (2, "ape/2.png"), (4, "wolf/1.png")):
            np.testing.assert_array_equal(data.images[row], np.asarray(Image.open(folder / path)))

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
    def test_a_damaged_one_among_few_is_named_and_too_many(self, folder: Path, share: float) -> None:
        path = folder / "wolf" / "1.png"
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(InputError, match=r"1\.png: cannot be read as a picture \(.+\); replace or remove it"):
            read_folder(folder, 32)

    def test_a_few_damaged_ones_are_named_counted_and_left_out(self, folder: Path) -> None:
        path = folder / "ape" / "1.png"
        path.write_bytes(path.read_bytes()[:30])
        with pytest.warns(Note) as noted:
            data, broken = read_folder(folder, 32, most_broken=0.25)
        assert [str(note.message).rpartition(": ")[2] for note in noted][-1] == "1 of 5 images are broken and left out"
        assert "left out: " in str(noted[0].message) and str(path) in str(noted[0].message)
        assert broken == 1
        assert data.labels.tolist() == [0, 0, 1, 1]

    def test_a_class_of_damaged_ones_alone_is_refused(self, folder: Path) -> None:
        for path in (folder / "wolf").iterdir():
            path.write_bytes(b"no picture")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(InputError, match="wolf: every image of this class is broken"):
                read_folder(folder, 32, most_broken=1.0)

    def test_images_of_several_sizes_are_read_from_disk_resized_and_cropped(self, folder: Path) -> None:
        Image.new("RGB", (40, 20), (10, 200, 30)).save(folder / "wolf" / "2.png")
        data, _ = read_folder(folder, 32)
        assert isinstance(data, ImageFiles)
        images, labels = data.batch(torch.tensor([5, 0]))
        assert images.shape == (2, 32, 32, 3)
        assert labels.tolist() == [1, 0]
        assert (images[0] == torch.tensor([10, 200, 30])).all()

    def test_what_does_not_fit_into_memory_is_read_from_disk_unchanged(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(1)
        for name in ("ape", "wolf"):
            (tmp_path / name).mkdir()
            for number in range(2):
                Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(tmp_path / name / f"{number}.png")
        kept, _ = read_folder(tmp_path, 32)
        streamed, _ = read_folder(tmp_path, 32, memory=1e-9)
        assert isinstance(kept, ImageSet) and isinstance(streamed, ImageFiles)
        pick = torch.tensor([3, 0, 2])
        for ours, expected in zip(streamed.batch(pick), kept.batch(pick), strict=True):
            assert torch.equal(ours, expected)
        part = streamed.subset(2)
        assert part.labels.tolist() == [0, 1]
        assert torch.equal(part.batch(torch.tensor([1]))[0], kept.batch(torch.tensor([3]))[0])

    def test_what_breaks_while_it_is_read_is_left_out_once_named(self, folder: Path) -> None:
        data, _ = read_folder(folder, 32, memory=0.0, most_broken=0.25)
        path = folder / "ape" / "1.png"
        path.write_bytes(path.read_bytes()[:60])
        for time in range(2):
            with warnings.catch_warnings(record=True) as noted:
                warnings.simplefilter("always")
                images, labels = data.batch(torch.tensor([0, 1, 4]))
            assert (len(images), labels.tolist()) == (2, [0, 1])
            assert [str(note.message) for note in noted] == [f"{path}: is broken and left out"] * (1 - time)
        (folder / "wolf" / "0.png").write_bytes(b"")
        with pytest.raises(InputError, match=r"0\.png: cannot be read .*\(2 broken of 5 so far\)"):
            data.batch(torch.tensor([3, 0]))

    def test_grey_ones_have_one_channel(self, tmp_path: Path) -> None:
        for part in ("train", "test"):
            for name in ("ape", "wolf"):
                (tmp_path / part / name).mkdir(parents=True)
                Image.new("L", (8, 8), 77).save(tmp_path / part / name / "0.png")
        pair = read_dataset(tmp_path, PretrainSettings())
        assert pair.train.channels == pair.test.channels == len(pair.preprocessing.mean) == 1
        assert (pair.train.batch(torch.tensor([1]))[0] == 77).all()
        Image.new("RGB", (8, 8)).save(tmp_path / "test" / "ape" / "0.png")
        pair = read_dataset(tmp_path, PretrainSettings())
        assert pair.train.channels == pair.test.channels == len(pair.preprocessing.mean) == 3

    def test_that_are_not_there_are_missed(self, tmp_path: Path) -> None:
        for place in (tmp_path, tmp_path / "nowhere"):
            with pytest.raises(InputError, match="expected one folder of images per class; found none"):
                read_folder(place, 32)

    def test_a_class_without_any_is_named(self, folder: Path) -> None:
        (folder / "empty").mkdir()
        with pytest.raises(InputError, match=r"empty: this class folder holds no images \(.*\); fill or remove it"):
            read_folder(folder, 32)

    def test_that_are_hidden_are_neither_images_nor_classes(self, folder: Path) -> None:
        before, _ = read_folder(folder, 32)
        for name in (".ipynb_checkpoints", "__MACOSX", "ape/.ipynb_checkpoints"):
            (folder / name).mkdir()
            Image.new("RGB", (7, 6)).save(folder / name / "0-checkpoint.png")
        Image.new("RGB", (7, 6)).save(folder / "wolf" / "._0.png")
        after, _ = read_folder(folder, 32)
        assert after.classes == before.classes == ("ape", "wolf")
        assert after.labels.tolist() == before.labels.tolist()

    def test_of_sixteen_bits_are_scaled(self, folder: Path) -> None:
        ramp = np.linspace(0, 65535, 42).astype(np.uint16).reshape(6, 7)
        Image.fromarray(ramp).save(folder / "ape" / "0.png")
        data, _ = read_folder(folder, 32)
        np.testing.assert_allclose(data.batch(torch.tensor([0]))[0][0, ..., 2], ramp / 257, atol=0.51)

    def test_one_class_is_not_enough(self, tmp_path: Path) -> None:
        for part in ("train", "test"):
            (tmp_path / part / "ape").mkdir(parents=True)
            Image.new("L", (8, 8)).save(tmp_path / part / "ape" / "0.png")
        with pytest.raises(InputError, match="holds one class, ape; there must be at least two"):
            read_dataset(tmp_path, PretrainSettings())

    def test_imagenet_shows_random_parts_in_training_and_the_centre_in_tests(self, tmp_path: Path) -> None:
        ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None], (48, 64, 3))
        for part in ("train", "val"):
            for name in ("n01", "n02"):
                (tmp_path / part / name).mkdir(parents=True)
                Image.fromarray(ramp.copy()).save(tmp_path / part / name / "0.png")
        pair = read_dataset(tmp_path, PretrainSettings(dataset="imagenet", image_size=32))
        assert pair.preprocessing == Preprocessing(resize=37)
        pick = torch.tensor([0, 0])
        first, again, other = (pair.train.batch(pick, seed=seed)[0] for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        tested = pair.test.batch(torch.tensor([0]))[0]
        network = CordsNet(2, classes=2, image_size=32, preprocessing=pair.preprocessing)
        expected = network.preprocess(ramp[None].copy())
        torch.testing.assert_close(network.preprocess(tested), expected, rtol=0, atol=0.02)  # half a grey level

    def test_random_parts_lie_within_and_have_many_sizes(self) -> None:
        x = torch.stack([torch.arange(50).expand(40, -1), torch.arange(40)[:, None].expand(-1, 50)]).to(torch.uint8)
        rng = np.random.default_rng(0)
        widths = []
        for _ in range(60):
            part = random_crop(x, 16, rng).float()
            assert part.shape == (2, 16, 16)
            widths.append(float(part[0].max() - part[0].min()))
        assert min(widths) < 20
        assert max(widths) > 40


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


class TestNamed:
    @pytest.fixture
    def arrays(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(3)
        sizes = {"train": 7, "t10k": 4}
        made = {f"{part}-images-idx3-ubyte": rng.integers(0, 256, (n, 28, 28), dtype=np.uint8) for part, n in sizes.items()}
        return made | {f"{part}-labels-idx1-ubyte": rng.integers(0, 10, n, dtype=np.uint8) for part, n in sizes.items()}

    @pytest.mark.parametrize("place", ["MNIST/raw", "raw", ""])
    @pytest.mark.parametrize("packed", [False, True])
    def test_mnist_is_read_from_its_raw_files(
        self, tmp_path: Path, arrays: dict[str, np.ndarray], place: str, packed: bool
    ) -> None:
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        for name, array in arrays.items():
            content = idx(array)
            path = tmp_path / place / (f"{name}.gz" if packed else name)
            path.write_bytes(gzip.compress(content) if packed else content)
        pair = read_dataset(tmp_path, PretrainSettings(dataset="mnist"))
        assert (pair.train.channels, pair.train.classes) == (1, tuple("0123456789"))
        assert pair.preprocessing == Preprocessing((0.1307,), (0.3081,))
        for data, part in ((pair.train, "train"), (pair.test, "t10k")):
            images, labels = data.batch(torch.arange(len(data)))
            np.testing.assert_array_equal(images[..., 0], arrays[f"{part}-images-idx3-ubyte"])
            np.testing.assert_array_equal(labels, arrays[f"{part}-labels-idx1-ubyte"])
        (tmp_path / place / path.name).write_bytes(b"damaged")
        with pytest.raises(InputError, match=r"idx1-ubyte: cannot be read \(.*\); fetch it again"):
            read_dataset(tmp_path, PretrainSettings(dataset="mnist"))

    def test_fashion_has_names(self, tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
        for name, array in arrays.items():
            (tmp_path / name).write_bytes(idx(array))
        pair = read_dataset(tmp_path, PretrainSettings(dataset="fashion-mnist"))
        assert pair.train.classes[-1] == "ankle boot"
        assert pair.preprocessing.mean == (0.2860,)

    def test_cifar_is_read_by_torchvision(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from torchvision import datasets

        place = tmp_path / "cifar-10-batches-py"
        place.mkdir()
        rng = np.random.default_rng(0)
        parts: dict[str, Any] = {}
        for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
            parts[name] = {"data": rng.integers(0, 256, (2, 3072), dtype=np.uint8), "labels": [3, 8]}
            (place / name).write_bytes(pickle.dumps(parts[name]))
        (place / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"kind {number}" for number in range(10)]}))
        with pytest.raises(InputError, match="no whole folder cifar-10-batches-py/ of dataset=cifar10"):
            read_dataset(tmp_path, PretrainSettings(dataset="cifar10"))  # its files are not the published ones
        monkeypatch.setattr(datasets.cifar, "check_integrity", lambda path, md5=None: Path(path).is_file())
        for root in (tmp_path, place):
            pair = read_dataset(root, PretrainSettings(dataset="cifar10"))
            assert (len(pair.train), len(pair.test), pair.train.channels) == (10, 2, 3)
            images, labels = pair.train.batch(torch.tensor([4, 5]))
            expected = parts["data_batch_3"]["data"].reshape(2, 3, 32, 32).transpose(0, 2, 3, 1)
            np.testing.assert_array_equal(images, expected)
            assert labels.tolist() == [3, 8]
        assert pair.train.classes[3] == "kind 3"

    @pytest.mark.parametrize("dataset", ["mnist", "fashion-mnist", "cifar10", "cifar100", "imagenet", "folder"])
    def test_that_are_not_there_are_missed_in_one_line(self, dataset: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"^data=.*: has n") as caught:
            read_dataset(tmp_path, PretrainSettings(dataset=dataset))
        assert "\n" not in str(caught.value)

    def test_only_some_can_be_fetched(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from torchvision import datasets

        with pytest.raises(InputError, match="download=True: dataset=imagenet has no free download"):
            read_dataset(tmp_path, PretrainSettings(dataset="imagenet"), download=True)

        def refuse(*arguments: Any, **named: Any) -> None:
            raise OSError("no network")

        monkeypatch.setattr(datasets.MNIST, "__init__", refuse)
        with pytest.raises(
            InputError, match=r"download=True: MNIST could not be fetched \(no network\); place its files in"
        ):
            read_dataset(tmp_path, PretrainSettings(dataset="mnist"), download=True)


class TestImages:
    def test_subsets_are_spread_over_the_whole(self, image_set: Callable[..., ImageSet]) -> None:
        data = image_set(11, 4)
        part = data.subset(3)
        assert torch.equal(part.images, data.images[[0, 5, 10]])
        assert torch.equal(part.labels, data.labels[[0, 5, 10]])
        assert data.subset(None) is data

    def test_some_are_kept_out_and_the_others_stay(self, image_set: Callable[..., ImageSet], tmp_path: Path) -> None:
        data = image_set(11, 4)
        rest, held = kept_out(data, 3)
        assert isinstance(rest, ImageSet) and isinstance(held, ImageSet)
        assert torch.equal(held.images, data.images[[0, 5, 10]])
        assert torch.equal(rest.labels, data.labels[[1, 2, 3, 4, 6, 7, 8, 9]])
        files = ImageFiles(tuple(tmp_path / str(row) for row in range(5)), torch.arange(5) % 2, ("a", "b"), 3, 8)
        rest, held = kept_out(files, 2)
        assert isinstance(rest, ImageFiles) and isinstance(held, ImageFiles)
        assert [path.name for path in rest.paths] == ["1", "2", "3"] and rest.labels.tolist() == [1, 0, 1]
        assert [path.name for path in held.paths] == ["0", "4"] and held.broken is not files.broken
        with pytest.raises(InputError, match="validation_images=11: there are 11 training images; keep fewer out"):
            kept_out(data, 11)

    @pytest.mark.parametrize("size", [24, 32, 47])
    def test_normalised_are_what_the_network_will_see(self, size: int, image_set: Callable[..., ImageSet]) -> None:
        network = CordsNet(2, classes=3, image_size=32, preprocessing=Preprocessing(MEAN, STD))
        images = image_set(2, size).images
        ours = normalise(images, 32, torch.tensor(MEAN), torch.tensor(STD))
        torch.testing.assert_close(ours, network.preprocess(images), rtol=0, atol=1e-5)

    def test_batches_that_are_made_ahead_come_in_order_and_with_their_errors(self) -> None:
        made: list[int] = []

        def make(number: int) -> int:
            made.append(number)
            if number == 4:
                raise ZeroDivisionError
            return number**2

        found = ahead(((number,) for number in range(6)), make)
        assert next(found) == 0
        assert made in ([0, 1], [0])  # one ahead
        assert [next(found) for _ in range(3)] == [1, 4, 9]
        with pytest.raises(ZeroDivisionError):
            next(found)
        assert list(ahead(iter(()), make)) == []
