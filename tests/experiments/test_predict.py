"""Prediction of recordings as a command: known areas, lags and ceilings are found; what cannot be is one line."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cordstasks import predict as command
from cordstasks.analysis.predictivity import ridge_predictions, unit_correlations
from cordstasks.cordsnet import save
from cordstasks.experiments import predict_report, predictivity, responses_on_disk
from cordstasks.experiments.predict_settings import PredictSettings
from cordstasks.recordings import Recording, respond, write
from helpers import change, output_of, printed_by, read, refused, settling_cordsnet

AREA, LAG, WIDTH, BINS, STIMULI = 2, 12.0, 6.0, 7, 100
REPEATS, NOISE = 4, 0.5
FLAGS = ["--components", 15, "--splits", 4, "--held-out", 0.2, "--permutations", 4, "--lag-ms", 18, "--areas", 0, 2, 3]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, weights, and a recording that a read-out of area 2 makes 12 ms later, with noise."""
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    # blends of three patterns, so that few stimuli are enough to learn what drives a unit
    blends = np.tensordot(rng.normal(size=(STIMULI, 4)), rng.normal(size=(4, 5, 5, 3)), 1)
    coarse = np.clip(127 + 150 * blends, 0, 255).astype(np.uint8)
    images = [np.asarray(Image.fromarray(each).resize((32, 32), Image.Resampling.BICUBIC)) for each in coarse]
    (folder / "pictures").mkdir()
    for place, image in enumerate(images):
        Image.fromarray(image).save(folder / "pictures" / f"stim{place}.png")
    network = settling_cordsnet(depth=4)
    save(network, folder / "tiny.safetensors")
    starts = 6.0 + WIDTH * np.arange(BINS)
    bins = np.stack([starts, starts + WIDTH], axis=1)
    seen = respond(network, images, bins_ms=bins - LAG, image_ms=60.0, areas=(0, AREA, 3), device="cpu", progress=False)
    signal_ = _own(seen)
    signal_ = (signal_ - signal_.mean(axis=(0, 1))) / signal_.std(axis=(0, 1))
    rates = signal_[None] + NOISE * rng.normal(size=(REPEATS, *signal_.shape))
    ids = [f"stim{place}" for place in range(STIMULI)] * REPEATS
    write(Recording(rates.reshape(-1, BINS, 9), np.array(ids), bins, regions=["IT"] * 9), folder / "it.npz")
    return folder


def _own(seen: Recording) -> np.ndarray:
    """Nine units of area 2 (stimulus, time bin, unit) that other areas predict worst: the areas can be told apart."""
    rates = {area: seen.select(region=f"area {area}").rates.astype(np.float64) for area in (0, AREA, 3)}
    half, own = STIMULI // 2, rates[AREA]
    varying = np.argsort(own[:, -1].std(axis=0))[-300:]
    target = own[:, -1, varying]
    scores = [
        unit_correlations(target[half:], ridge_predictions(rates[area][:half, -1], target[:half], rates[area][half:, -1]))
        for area in (0, 3)
    ]
    return own[:, :, varying[np.argsort(np.nan_to_num(scores, nan=1.0).max(axis=0))[:9]]]


def _words(made: Path, out: Path, *more: object) -> list[object]:
    given = ["--recording", made / "it.npz", "--stimuli", made / "pictures", "--weights", made / "tiny.safetensors"]
    return [*given, "--out", out, "--device", "cpu", *FLAGS, *more]


@pytest.fixture(scope="module")
def finished(made: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("out") / "it"
    return out, printed_by(command.main, *_words(made, out))


class TestWhatIsFound:
    def test_the_area_and_its_lag(self, finished: tuple[Path, str]):
        summary = read(finished[0])
        assert summary["best"]["area"] == AREA
        rows = {row["area"]: row for row in summary["areas"]}
        assert set(rows) == {0, 2, 3}
        assert rows[AREA]["lag_ms"] == LAG
        assert rows[AREA]["lags_ms"] == [LAG] * 4

    def test_the_ceiling_and_a_score_close_to_it(self, finished: tuple[Path, str]):
        summary = read(finished[0])
        perfect = (1 / (1 + NOISE**2 / REPEATS)) ** 0.5
        assert summary["ceiling"]["spanning"]["median"] == pytest.approx(perfect, abs=0.03)
        assert len(summary["ceiling"]["per_bin"]) == BINS
        row = next(row for row in summary["areas"] if row["area"] == AREA)
        assert 0.85 < row["relative"]["median"] <= 1.02
        low, high = row["spanning"]["interval"]
        assert low < row["spanning"]["median"] < high < summary["ceiling"]["spanning"]["median"] + 0.03

    def test_shuffled_time_bins_are_predicted_worse(self, finished: tuple[Path, str]):
        row = next(row for row in read(finished[0])["areas"] if row["area"] == AREA)
        assert row["null"]["median"] < row["spanning"]["median"] - 0.05
        assert row["null"]["p_t"] < 0.001
        assert row["null"]["p_permutation"] == pytest.approx(1 / 5)

    def test_figures_and_table(self, finished: tuple[Path, str]):
        out, text = finished
        assert {path.name for path in out.glob("*.png")} == {"over_time.png", "by_area.png", "map.png"}
        assert "it: 100 stimuli, 4 presentations of each, 7 bins from 6 to 48 ms, 9 units (IT 9)" in text
        assert "a perfect model: 0." in text
        assert "nan" not in (text + (out / "summary.json").read_text()).lower()

    def test_a_second_run_computes_nothing_and_prints_the_same(
        self, made: Path, finished: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
    ):
        out, text = finished
        before = read(out)
        monkeypatch.setattr(responses_on_disk, "presented", None)  # must not be called
        again = printed_by(command.main, *_words(made, out))
        assert again.splitlines()[:-1] == text.splitlines()[:-1]  # the last has the seconds
        assert read(out) == before


def test_what_was_stopped_is_continued_to_the_same_numbers(
    made: Path, finished: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    presented, calls = responses_on_disk.presented, []

    def stopping(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return presented(*arguments)

    monkeypatch.setattr(responses_on_disk, "presented", stopping)
    code, _, err = output_of(command.main, *_words(made, tmp_path / "out"))
    assert code == 130
    assert "stopped; this continues: the same command" in err
    assert [path.name for path in (tmp_path / "out" / "responses").iterdir()] == ["stimuli-000000.npz"]
    printed_by(command.main, *_words(made, tmp_path / "out"))
    assert len(calls) == 5  # all parts but the first
    one, other = read(finished[0]), read(tmp_path / "out")
    assert one["areas"] == other["areas"]
    assert one["ceiling"] == other["ceiling"]


class TestWhatIsLeftOut:
    def test_stimuli_without_a_picture_silent_units_and_a_missing_ceiling(self, made: Path, tmp_path: Path):
        from cordstasks.recordings import read as read_recording

        whole = read_recording(made / "it.npz").average()
        rates = np.concatenate([whole.rates, np.ones((STIMULI, BINS, 2))], axis=2)
        rates[:, :, 0] = np.where(np.arange(STIMULI)[:, None] == 3, 5.0, 0.0)  # varies in one stimulus alone
        ids = np.array(["gone", *whole.stimulus_ids[1:]])
        write(Recording(rates, ids, whole.bins_ms), tmp_path / "v4.npz")
        words = _words(made, tmp_path / "out", "--areas", 2, "--time-map", "none", "--lag-ms", 0, "--splits", 2)
        words[1] = tmp_path / "v4.npz"
        code, out, err = output_of(command.main, *words)
        assert code == 0, err
        assert "note: units that never vary (silent), left out: 2 of 11" in out
        assert "note: stimuli without a picture, left out: 1 of 100" in out
        assert "note: stimuli have single presentations, so that there is no ceiling" in out
        summary = read(tmp_path / "out")
        assert summary["ceiling"] is None
        assert summary["areas"][0]["relative"] is None
        assert summary["recording"]["stimuli"] == 99
        left_out = summary["areas"][0]["spanning"]["left_out"]
        assert left_out in (0, 1)
        assert "NaN" not in (tmp_path / "out" / "summary.json").read_text()

    def test_stimuli_that_share_a_picture_are_counted(self, made: Path):
        settings = PredictSettings(recording=str(made / "it.npz"), stimuli=str(made / "pictures"), components=15)
        model = settling_cordsnet(depth=4)
        assert not any("picture of another" in note for note in predictivity.prepare(settings, model).notes)
        table = made / "pictures" / "table.csv"
        try:
            table.write_text("stimulus_id,file\nstim3,stim4.png\nstim9,stim4.png\n")
            notes = predictivity.prepare(settings, model).notes
        finally:
            table.unlink()
        assert notes == ("stimuli that have the picture of another stimulus, and may be predicted from it: 2 of 100",)


def test_columns_do_not_touch_where_scores_are_negative():
    low = {"median": -0.123, "interval": [-0.456, -0.101], "left_out": 0}
    row = {"area": 1, "bins": low, "spanning": low, "relative": low, "null": None, "lag_ms": 0.0}
    text = predict_report.printed({"ceiling": None, "areas": [row], "recording": {"units": 3}})
    assert text.splitlines()[-1].count("-0.123 (-0.456 to -0.101) ") == 3


class TestBadInput:
    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (["--held-out", 0.96], "--lag-ms 18: lags are chosen on the stimuli to fit on, which are 4"),
            (["--components", 80], "--components 80: 80 training samples allow 79 at most; give fewer components"),
            (["--held-out", 0.02], "--held-out 0.02: holds out 2 of 100 stimuli"),
            (["--region", "V4"], "region 'V4' is unknown"),
            (["--areas", 4], "area"),
            (["--from-ms", 90], "nothing is left from 90"),
            (["--method", "pcr"], "method 'pcr' is unknown"),
            (["--weights", "cordsnet-r9"], "weights 'cordsnet-r9' is unknown"),
        ],
    )
    def test_impossible_settings_are_one_line_and_leave_nothing(
        self, made: Path, tmp_path: Path, more: list[object], message: str
    ):
        assert message in refused(command.main, *_words(made, tmp_path / "out", *more))
        assert not (tmp_path / "out").exists()

    def test_missing_files_and_flags(self, made: Path, tmp_path: Path):
        assert refused(command.main, "--stimuli", tmp_path).startswith("--recording is missing")
        words = _words(made, tmp_path / "out")
        words[1] = tmp_path / "gone.npz"
        assert "there is no such file" in refused(command.main, *words)
        words = _words(made, tmp_path / "out")
        words[3] = tmp_path
        assert f"--stimuli {tmp_path}: holds no pictures" in refused(command.main, *words)

    def test_no_stimulus_has_a_picture(self, made: Path, tmp_path: Path):
        (tmp_path / "other").mkdir()
        Image.new("RGB", (3, 3)).save(tmp_path / "other" / "owl.png")
        words = _words(made, tmp_path / "out")
        words[3] = tmp_path / "other"
        assert "no stimulus has a picture, such as 'stim0'" in refused(command.main, *words)

    def test_times_in_seconds_and_what_varies_without_a_picture_alone(self, made: Path, tmp_path: Path):
        from cordstasks.recordings import read as read_recording

        whole = read_recording(made / "it.npz")
        write(replace(whole, bins_ms=whole.bins_ms / 1000), tmp_path / "seconds.npz")
        words = _words(made, tmp_path / "out")
        words[1] = tmp_path / "seconds.npz"
        assert "its last time bin ends at 0.048 ms, before the end of the model's first step of 2 ms" in refused(
            command.main, *words
        )
        rates = np.where((whole.stimulus_ids == "stim7")[:, None, None], whole.rates, 0.0)
        ids = np.where(whole.stimulus_ids == "stim7", "gone", whole.stimulus_ids)
        write(replace(whole, rates=rates, stimulus_ids=ids), tmp_path / "seconds.npz")
        assert "nothing varies in the chosen region and bins, and among the stimuli" in refused(command.main, *words)
        assert not (tmp_path / "out").exists()

    def test_a_folder_of_other_pictures_is_refused(self, made: Path, finished: tuple[Path, str], tmp_path: Path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "config.json").write_bytes((finished[0] / "config.json").read_bytes())
        picture = made / "pictures" / "stim3.png"
        before = picture.read_bytes()
        try:
            picture.write_bytes((made / "pictures" / "stim4.png").read_bytes())
            assert "its results are of other pictures" in refused(command.main, *_words(made, tmp_path / "out"))
        finally:
            picture.write_bytes(before)

    def test_a_folder_of_other_settings_or_of_another_recording(
        self, made: Path, finished: tuple[Path, str], tmp_path: Path
    ):
        out = finished[0]
        assert "the run in" in refused(command.main, *_words(made, out, "--seed", 5))
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "config.json").write_bytes((out / "config.json").read_bytes())
        change(tmp_path / "out", recording_sha256="0")
        assert "its results are of another recording of this name" in refused(command.main, *_words(made, tmp_path / "out"))
        change(tmp_path / "out", family="visual")
        assert "holds a run of another command" in refused(command.main, *_words(made, tmp_path / "out"))
