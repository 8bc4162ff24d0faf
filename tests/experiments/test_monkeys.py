"""Published recordings beside networks: files that are read, similarity to IT, and the time course of LIP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat
from scipy.stats import spearmanr

from cordstasks.analysis import rsa
from cordstasks.errors import InputError
from cordstasks.experiments.known_recording import KnownRecording, gabor_pictures, write_known_recording
from cordstasks.experiments.monkey_it import HUMAN, MACAQUE, compare_with_it, read_92_images
from cordstasks.experiments.monkey_lip import Courses, lip_courses, slopes, time_matters
from cordstasks.recordings import read, respond

LEVELS = (0.0, 0.128, 0.512)


def courses(lag: float, *, reversed_: bool = False) -> Courses:
    """Ramps whose slope follows coherence, up for one choice and down for the other."""
    times = np.arange(0.0, 700.0, 20.0)
    found: Courses = {}
    for sign, choice in ((1.0, "T1"), (-1.0, "T2")):
        for level in LEVELS:
            ramp = sign * (0.2 + level) * np.clip(times - lag, 0, 400) / 100 + 0.1 * np.sin(times / 60)
            found[choice, level] = times, ramp[::-1] if reversed_ else ramp
    return found


class TestLip:
    def table(self, path: Path, rows: list[tuple[Any, ...]]) -> Path:
        lines = ["align,choice,time,coherence,firing_rate", *(",".join(map(str, row)) for row in rows)]
        path.write_text("\n".join(lines))
        return path

    def test_rates_by_choice_and_coherence(self, tmp_path: Path):
        rows = [("dots", "T1", 0, 51.2, 10), ("sacc", "T1", 0, 51.2, 99), ("dots", "T1", 20, 51.2, 12)]
        file = self.table(tmp_path / "lip.csv", [*rows, ("dots", "T2", 0, 51.2, 7)])
        found = lip_courses(file, "dots")
        assert set(found) == {("T1", 0.512), ("T2", 0.512)}
        assert [each.tolist() for each in found["T1", 0.512]] == [[0, 20], [10, 12]]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("align,choice\ndots,T1", "is not the table of LIP's rates"),
            ("align,choice,time,coherence,firing_rate\ndots,T1,soon,1,2", "is not the table of LIP's rates .*soon"),
            ("align,choice,time,coherence,firing_rate", "has no rows aligned to 'dots'"),
        ],
    )
    def test_other_files(self, content: str, message: str, tmp_path: Path):
        (tmp_path / "lip.csv").write_text(content)
        with pytest.raises(InputError, match=message):
            lip_courses(tmp_path / "lip.csv", "dots")
        with pytest.raises(InputError, match=r"none\.csv: is not the table"):
            lip_courses(tmp_path / "none.csv", "dots")

    def test_slopes_are_those_of_the_ramps(self):
        found = slopes(courses(100.0), 150.0, 500.0)
        for (choice, level), slope in found.items():
            wobble = 0.1 * 1000 / 60  # the steepest slope of the sine
            assert slope == pytest.approx((1 if choice == "T1" else -1) * 10 * (0.2 + level), abs=wobble)

    def test_a_time_course_is_told_from_its_shuffles(self):
        lip, model = courses(200.0), courses(100.0)
        found = time_matters(lip, model)
        assert found["conditions"] == 6
        assert found["correlation"] > 0.9
        assert found["interval"][0] > 0.5
        assert found["p_t"] < 1e-4
        # the window of the network, and that of LIP 100 ms later, by hand
        times, _ = model["T2", 0.512]
        inside = (times >= 100) & (times <= 400)
        expected = [
            np.corrcoef(model[key][1][inside], np.interp(times[inside] + 100, *lip[key]))[0, 1] for key in sorted(model)
        ]
        assert found["correlation"] == pytest.approx(np.mean(expected))
        assert time_matters(courses(200.0, reversed_=True), model)["interval"][1] < 0

    def test_too_few_conditions(self):
        lip = courses(200.0)
        with pytest.raises(InputError, match="model: 1 conditions have responses from 100 to 400 ms; two are needed"):
            time_matters(lip, {("T1", 0.0): lip["T1", 0.0], ("T1", 0.3): lip["T1", 0.0]})


class TestIt:
    def supplement(self, path: Path, images: list[np.ndarray], references: list[np.ndarray]) -> Path:
        stimuli = np.zeros(len(images), dtype=[("image", object)])
        for place, image in enumerate(images):
            stimuli[place]["image"] = image
        rdms = np.zeros(len(references), dtype=[("RDM", object)])
        for place, reference in enumerate(references):
            rdms[place]["RDM"] = reference
        savemat(path, {"stimuli_92objs": stimuli, "RDMs_mIT_hIT_fig1": rdms})
        return path

    def test_other_files(self, tmp_path: Path):
        savemat(tmp_path / "other.mat", {"x": np.eye(3)})
        with pytest.raises(InputError, match=r"other\.mat: is not the supplement of Kriegeskorte et al\. 2008"):
            read_92_images(tmp_path / "other.mat")
        with pytest.raises(InputError, match=r"none\.mat: is not the supplement"):
            read_92_images(tmp_path / "none.mat")

    @pytest.mark.slow
    def test_each_area_and_time_against_a_reference_made_of_one(self, tmp_path: Path):
        """A reference that is area 5 itself, from 190 to 200 ms, is that area's; pixels are correlated as by hand."""
        images = gabor_pictures(8, np.random.default_rng(0))
        seen = respond("cordsnet-r8", images, bins_ms=10.0, areas=5, device="cpu", progress=False)
        reference = rsa.dissimilarities(seen.rates)[-1]
        noise = np.random.default_rng(1).random(len(reference))
        found = compare_with_it(self.supplement(tmp_path / "it.mat", images, [reference, noise]), resamples=20)
        similarity = found[MACAQUE]
        assert similarity.compared.values[similarity.late(5)] == pytest.approx(1.0)
        assert similarity.courses[5, [19, similarity.best[5]]] == pytest.approx(1.0)
        assert similarity.compared.values[similarity.early(5)] == pytest.approx(similarity.courses[5, 1])
        assert similarity.compared.values[similarity.untrained(5)] < 1
        pixels = rsa.dissimilarities(np.stack([image.reshape(1, -1) for image in images]).astype(float))[0]
        for name, target in ((MACAQUE, reference), (HUMAN, noise)):
            expected = spearmanr(pixels, target).statistic
            assert found[name].compared.values[found[name].pixels] == pytest.approx(expected)


@pytest.mark.slow
def test_a_known_recording_is_the_area_later(tmp_path: Path):
    settings = KnownRecording(area=3, lag_ms=30.0, stimuli=5, repeats=2, units=4, noise=0.0, seed=3)
    made = write_known_recording(settings, tmp_path / "straight")
    again = read(tmp_path / "straight" / "recording.npz")
    assert again.rates.shape == (10, 8, 4)
    np.testing.assert_array_equal(again.rates, made.rates)
    images = gabor_pictures(5, np.random.default_rng(3))
    seen = respond("cordsnet-r8", images, bins_ms=again.bins_ms - 30.0, areas=3, device="cpu", progress=False).rates
    seen = seen[:, :, seen.std(axis=(0, 1)) > 0]
    for unit in range(4):
        matches = [np.corrcoef(made.rates[:5, :, unit].ravel(), each.ravel())[0, 1] for each in np.moveaxis(seen, 2, 0)]
        assert max(matches) == pytest.approx(1.0)
    moved = write_known_recording(KnownRecording(**{**vars(settings), "shuffled": True}), tmp_path / "shuffled")
    assert not np.isclose(moved.rates, made.rates).all(axis=(0, 2)).any()  # no bin stays where it was
    np.testing.assert_allclose(np.sort(moved.rates, axis=1), np.sort(made.rates, axis=1))
