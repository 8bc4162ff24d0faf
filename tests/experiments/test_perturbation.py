"""Causal tests: interventions against step-by-step loops, sets of units, effects of known size, and the command."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cordstasks import analysis, perturb, train
from cordstasks.analysis.psychophysics import choice_shift, paired_change
from cordstasks.cordsnet.checkpoints import save
from cordstasks.errors import InputError
from cordstasks.experiments import perturbation
from cordstasks.experiments.effects import effect_of, lines_of, shift_words
from cordstasks.experiments.interventions import ACTIONS, Intervention, perturbed_features, run_perturbed
from cordstasks.experiments.perturbation import perturb as perturb_run
from cordstasks.experiments.perturbation import prepare_perturbation
from cordstasks.experiments.perturbation_settings import PerturbationSettings
from cordstasks.experiments.unit_sets import chosen_units, random_sets
from cordstasks.frontend import Features, FrontEnd
from cordstasks.frontend.histories import Cost
from cordstasks.model import MultiAreaModel
from cordstasks.rnn import RNN
from cordstasks.runs.loading import load_run
from cordstasks.stimuli import Movie
from cordstasks.training.evaluation import behaviour_of
from helpers import SHORT, flags, printed_by, read, refused, settling_cordsnet

TRIALS, STEPS, INPUTS, UNITS = 5, 6, 3, 7
refusal = partial(refused, perturb.main, begun=True)


def model_of(form: str, activation: str) -> MultiAreaModel:
    generator = torch.Generator().manual_seed(0)
    rnn = RNN(INPUTS, UNITS, 2, dt=20.0, tau=60.0, form=form, activation=activation, gain=1.5, generator=generator)
    return MultiAreaModel(rnn, INPUTS)


def inputs_of(seed: int = 0) -> Features:
    rows = torch.randn(TRIALS * STEPS, INPUTS, generator=torch.Generator().manual_seed(seed))
    return Features(rows, torch.arange(TRIALS * STEPS).reshape(TRIALS, STEPS), Cost())


CHOSEN = np.array([False, True, False, False, True, False, False])
WINDOWS = np.array([[20.0, 60.0], [0.0, 20.0], [60.0, 120.0], [np.nan, np.nan], [40.0, 100.0]])


class TestRecurrentNetwork:
    @pytest.mark.parametrize(
        ("form", "activation"), [("rate", "relu"), ("rate", "tanh"), ("current", "tanh"), ("current", "softplus")]
    )
    @pytest.mark.parametrize("action", ACTIONS)
    @torch.no_grad()
    def test_as_one_step_after_the_other(self, action: str, form: str, activation: str):
        model = model_of(form, activation)
        rnn, inputs = model.rnn, inputs_of().take(slice(None))
        logits, rates = run_perturbed(model, inputs_of(), Intervention(action, CHOSEN, WINDOWS, 0.7), dt=20.0)
        matrix = rnn.connectivity.matrix()
        function = {"relu": torch.relu, "tanh": torch.tanh, "softplus": torch.nn.functional.softplus}[activation]
        held = 0.0 if action in ("silence", "lesion") else 0.7
        for trial in range(TRIALS):
            state = torch.zeros(UNITS)
            rate = state if form == "rate" else function(state)
            if action == "lesion":
                rate = torch.where(torch.from_numpy(CHOSEN), torch.zeros(UNITS), rate)
            for step in range(STEPS):
                start, end = WINDOWS[trial]
                on = bool(start <= 20.0 * step + 10 < end) or action == "lesion"
                total = matrix @ rate + rnn.bias + rnn.input_weights @ inputs[trial, step]
                if on and action == "current":
                    total = total + 0.7 * torch.from_numpy(CHOSEN).float()
                state = state + 20 / 60 * (-state + (function(total) if form == "rate" else total))
                rate = state if form == "rate" else function(state)
                if on and action != "current":
                    rate = torch.where(torch.from_numpy(CHOSEN), torch.full((UNITS,), held), rate)
                    state = rate if form == "rate" else state
                np.testing.assert_allclose(rates[trial, step], rate, atol=1e-5)
                output = rnn.output_weights @ rate + rnn.output_bias
                np.testing.assert_allclose(logits[trial, step], output, atol=1e-5)

    def test_a_current_of_zero_changes_nothing(self):
        model = model_of("rate", "relu")
        with torch.no_grad():
            expected, _ = model(inputs_of().take(slice(None)))
        logits, _ = run_perturbed(model, inputs_of(), Intervention("current", CHOSEN, WINDOWS, 0.0), dt=20.0)
        np.testing.assert_array_equal(logits, expected.numpy())

    def test_the_same_noise_with_and_without_an_effect(self):
        model, nothing = model_of("rate", "relu"), Intervention("current", CHOSEN, WINDOWS, 0.0)
        model.rnn.noise = 0.3
        late = Intervention("silence", CHOSEN, np.tile([80.0, 120.0], (TRIALS, 1)))
        (one, _), (other, _) = (
            run_perturbed(model, inputs_of(), done, dt=20.0, generator=torch.Generator().manual_seed(1))
            for done in (nothing, late)
        )
        quiet, _ = run_perturbed(model, inputs_of(), nothing, dt=20.0)
        np.testing.assert_allclose(one[:, :4], other[:, :4], rtol=1e-5, atol=1e-6)
        assert np.abs(one[:, 4:] - other[:, 4:]).max() > 1e-3
        assert np.abs(one - quiet).max() > 1e-2

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"action": "freeze"}, "action 'freeze' is unknown"),
            ({"units": np.zeros(UNITS, bool)}, "units: 0 units in an array of bool; give booleans, one or more true"),
            ({"units": np.array([1, 2])}, "units: 3 units in an array of int64; give booleans"),
            ({"units": np.ones(4, bool)}, r"units: has shape \(4,\); give \(7,\) booleans"),
            ({"window": np.array([[50.0, 20.0]] * TRIALS)}, "with the start before the end"),
            ({"window": WINDOWS[:2]}, "window: is of 2 trials but inputs of 5"),
            ({"window": WINDOWS + 500}, "window=500 to 620 ms: no step of any trial lies there; the trials last 120 ms"),
        ],
    )
    def test_mistakes(self, change: dict[str, Any], message: str):
        given = {"action": "silence", "units": CHOSEN, "window": WINDOWS, **change}
        with pytest.raises(InputError, match=message):
            run_perturbed(model_of("rate", "relu"), inputs_of(), Intervention(**given), dt=20.0)


@pytest.fixture(scope="module")
def frontend() -> FrontEnd:
    """Of a small network, read in both areas, that simulates every step."""
    return FrontEnd(settling_cordsnet(), areas=(0, 1), side=4, device="cpu", bank=False, tolerance=0.0)


class TestFrontEnd:
    def movies(self) -> list[Movie]:
        rng = np.random.default_rng(0)
        frames = rng.integers(0, 255, (4, 32, 32, 1), dtype=np.uint8)
        return [
            Movie(frames, np.array([0.0, 8.0, 14.0, 30.0]), duration_ms=44.0),
            Movie(frames[::-1][:2], np.array([0.0, 10.0]), duration_ms=24.0),
        ]

    def test_without_an_effect_features_are_those_of_the_front_end(self, frontend: FrontEnd):
        movies = self.movies()
        expected = frontend.features(movies, dt=8.0)
        nothing = Intervention("current", np.ones((64, 8, 8), bool), np.tile([0.0, 40.0], (2, 1)), 0.0)
        found = perturbed_features(frontend, movies, nothing, 1, dt=8.0)
        np.testing.assert_array_equal(found.index >= 0, expected.index >= 0)
        np.testing.assert_allclose(found.take(slice(None)), expected.take(slice(None)), rtol=2e-3, atol=2e-3)

    def test_silenced_units_are_silent_in_the_window_and_those_they_drive_change(self, frontend: FrontEnd):
        movies = self.movies()
        expected = frontend.features(movies, dt=8.0).take(slice(None))
        units = np.zeros((64, 8, 8), bool)
        units[:, :2, :2] = True  # one location of the maps averaged to 4 x 4
        silenced = Intervention("silence", units, np.array([[16.0, 32.0], [8.0, 16.0]]))
        found = perturbed_features(frontend, movies, silenced, 0, dt=8.0).take(slice(None))
        here = found[..., :1024].reshape(2, 5, 64, 4, 4)
        assert float(here[0, 2:4, :, 0, 0].abs().max()) == 0
        assert float(here[1, 1, :, 0, 0].abs().max()) == 0
        assert float(here[0, 4, :, 0, 0].abs().max()) > 0
        np.testing.assert_allclose(found[0, :2], expected[0, :2], rtol=2e-3, atol=2e-3)
        assert float((found - expected)[0, 2:4, 1024:].abs().max()) > 0.01

    def test_areas_that_are_not_simulated(self, frontend: FrontEnd):
        done = Intervention("silence", np.ones((64, 8, 8), bool), np.tile([0.0, 40.0], (2, 1)))
        with pytest.raises(InputError, match="area=2: the run reads areas up to 1, those above have no effect"):
            perturbed_features(frontend, self.movies(), done, 2, dt=8.0)
        small = Intervention("silence", np.ones((3, 8, 8), bool), np.tile([0.0, 40.0], (2, 1)))
        with pytest.raises(InputError, match=r"units: has shape \(3, 8, 8\); area 1 has maps of shape \(64, 8, 8\)"):
            perturbed_features(frontend, self.movies(), small, 1, dt=8.0)


class TestSets:
    """Units 0 to 3 prefer 0, 90, 180 and 270 deg, 4 to 9 prefer nothing; selectivity falls with the number."""

    def responses(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        location = np.tile([0.0, 90.0, 180.0, 270.0], 20)
        rates = 0.2 * rng.standard_normal((80, 10))
        for unit, value in enumerate((0.0, 90.0, 180.0, 270.0)):
            rates[:, unit] += (4 - 0.5 * unit) * (location == value)
        return rates, location

    def chosen(self, rule: str, **options: Any) -> Any:
        return chosen_units(rule, *self.responses(), rng=np.random.default_rng(1), **options)

    def test_the_most_selective(self):
        assert self.chosen("tuned", fraction=0.2).units.tolist() == [0, 1]
        alike = self.chosen("tuned", fraction=0.2, alike=True)
        assert (alike.units.tolist(), alike.preferred) == ([0], 0.0)

    def test_those_that_prefer_a_value(self):
        found = self.chosen("prefer=180")
        assert (found.units.tolist(), found.preferred) == ([2], 180.0)

    def test_at_random_or_by_number(self):
        assert len(set(self.chosen("random", fraction=0.5).units.tolist())) == 5
        assert self.chosen("units=7,2,2").units.tolist() == [2, 7]
        assert self.chosen("channels=1", channels=5).units.tolist() == [2, 3]
        sets = random_sets(10, 4, 3, rng=np.random.default_rng(0))
        assert [len(set(each.tolist())) for each in sets] == [4, 4, 4]

    def test_locations_and_channels_are_those_of_the_maps(self):
        maps = np.arange(10).reshape(5, 2)  # channel, location
        assert self.chosen("locations=1", channels=5).units.tolist() == maps[:, 1].tolist()
        assert self.chosen("channels=0,4", channels=5).units.tolist() == [*maps[0], *maps[4]]
        assert (self.chosen("locations=1", channels=5).kind, self.chosen("random").kind) == ("locations", "units")

    @pytest.mark.parametrize(("kind", "size"), [("channels", 12), ("locations", 10)])
    def test_random_sets_are_of_the_same_kind(self, kind: str, size: int):
        maps = np.arange(5 * 6).reshape(5, 6)
        blocks = {tuple(row) for row in (maps if kind == "channels" else maps.T).tolist()}
        sets = random_sets(30, size, 40, rng=np.random.default_rng(0), kind=kind, channels=5)
        seen = set()
        for units in sets:
            own = {block for block in blocks if set(block) <= set(units.tolist())}
            assert len(own) == 2
            assert sorted(unit for block in own for unit in block) == units.tolist()
            seen |= own
        assert seen == blocks

    @pytest.mark.parametrize(
        ("rule", "message"),
        [
            ("tune", "units='tune': is no rule; give tuned, prefer=VALUE"),
            ("prefer=", "is no rule"),
            ("prefer=45", r"choose one of the values 0\.0, 90\.0, 180\.0, 270\.0"),
            ("units=3,x", "give whole numbers, such as units=0,3,5"),
            ("units=10", "numbers go from 0 to 9"),
            ("channels=0", "the recurrent network has no channels; name an area, or give units=1,2,3"),
            ("locations=0", "the recurrent network has no locations; name an area, or give units=1,2,3"),
        ],
    )
    def test_mistakes(self, rule: str, message: str):
        with pytest.raises(InputError, match=message):
            self.chosen(rule)

    def test_a_set_by_number_has_no_fraction(self):
        with pytest.raises(InputError, match=r"fraction=0\.5: has no effect on a set that is given by number"):
            self.chosen("units=1", fraction=0.5)

    def test_an_empty_set(self):
        rates, location = self.responses()
        with pytest.raises(InputError, match="no unit of 6 is selective so in these trials"):
            chosen_units("prefer=0", rates[:, 4:] * 0, location, rng=np.random.default_rng(0))


class TestEffects:
    def test_a_shift_of_known_size_is_found(self):
        rng = np.random.default_rng(0)
        signed = np.tile([-0.4, -0.2, -0.1, 0.0, 0.1, 0.2, 0.4], 300)
        before, after = (rng.random(2100) < 1 / (1 + np.exp(-8 * (signed + shift))) for shift in (0.0, 0.1))
        found = choice_shift(signed, before, after, rng=rng, bootstrap=60)
        assert found.interval[0] < 0.1 < found.interval[1]
        assert found.slope == pytest.approx(8, rel=0.15)
        assert found.shift == pytest.approx(found.log_odds / found.slope)
        same = choice_shift(signed, before, before, rng=rng, bootstrap=0)
        assert abs(same.shift) < 1e-6

    def test_choices_that_do_not_follow_motion_have_no_shift(self):
        signed, never = np.array([-0.2, 0.2, 0.2, -0.2]), np.zeros(4, bool)
        assert choice_shift(signed, never, never, rng=np.random.default_rng(0)).as_dict()["shift"] is None
        found = choice_shift(signed, signed < 0, signed < 0, rng=np.random.default_rng(0)).as_dict()
        assert found["shift"] is found["interval"] is None

    def test_a_shift_beyond_the_tested_coherences_is_a_lower_bound(self):
        rng = np.random.default_rng(0)
        signed = np.tile([-0.4, -0.2, -0.1, 0.0, 0.1, 0.2, 0.4], 300)
        before, after = (rng.random(2100) < 1 / (1 + np.exp(-8 * (signed + shift))) for shift in (0.0, -0.6))
        found = choice_shift(signed, before, after, rng=rng, bootstrap=60)
        assert found.beyond
        assert found.shift == found.interval[0] == -0.4
        assert found.log_odds / found.slope == pytest.approx(-0.6, rel=0.15)
        all_one_way = choice_shift(signed, before, np.ones(2100, bool), rng=rng, bootstrap=20).as_dict()
        assert (all_one_way["beyond"], all_one_way["shift"], all_one_way["interval"]) == (True, 0.4, [0.4, 0.4])
        assert shift_words(all_one_way) == "beyond the tested +0.400 (at least +0.400)"
        wide = {**found.as_dict(), "interval": [-0.4, -0.31]}
        assert shift_words(wide) == "beyond the tested -0.400 (at least -0.310)"
        assert shift_words({**wide, "interval": None}) == "beyond the tested -0.400"
        within = {"shift": 0.1, "beyond": False, "interval": None}
        assert shift_words(within) == "+0.100 (no interval: resampled choices do not follow the motion)"
        assert shift_words({**within, "interval": [0.05, 0.2]}) == "+0.100 (+0.050 to +0.200)"

    def test_change_of_the_same_trials(self):
        before, after = np.array([1, 1, 1, 0] * 50, bool), np.array([0, 1, 1, 0] * 50, bool)
        found = paired_change(before, after, rng=np.random.default_rng(0))
        assert (found["before"], found["after"], found["change"]) == (0.75, 0.5, -0.25)
        error = np.sqrt(0.25 * 0.75 / 200)
        assert found["interval"] == pytest.approx([-0.25 - 1.96 * error, -0.25 + 1.96 * error], abs=0.02)
        assert paired_change([True], [False], rng=np.random.default_rng(0))["interval"] is None


@pytest.fixture(scope="module", params=["rdm", "saccade"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a small front-end and network."""
    folder = tmp_path_factory.mktemp(request.param)
    save(settling_cordsnet(), folder / "small.safetensors")
    sizes = {"trials": 48, "validation": 40, "heldout": 48, "steps": 30, "units": 30, "batch": 16, "inputs": 12, "side": 2}
    words = [
        "--task",
        request.param,
        *flags(**sizes, parameters=SHORT[request.param]),
        "--device",
        "cpu",
        "--bank",
        folder / "bank",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analysis.figures, "save", lambda figure, path: Path(path).touch())
        printed_by(train.main, *words, "--frontend", folder / "small.safetensors", "--out", folder / "run")
    return folder / "run"


class TestCommand:
    def test_one_of_each_action(self, run: Path, tmp_path: Path):
        task = "rdm" if "rdm" in str(run) else "saccade"
        window = "motion" if task == "rdm" else "delay"
        words = [run, "--window", window, "--random-sets", 3, "--bootstrap", 20, "--fraction", 0.2]
        words += ["--bank", run.parent / "bank"]
        out = printed_by(perturb.main, *words, "--silence", "random", "--out", tmp_path / "out")
        assert "beside 3 random sets of as many" in out
        assert "nan" not in out.lower().replace("nance", "")
        summary = read(tmp_path / "out")
        assert len(summary["random"]) == 3
        assert len(summary["set"]["units"]) == 6
        assert summary["settings"]["window"] == window
        assert sum(row["trials"] for row in summary["effect"]["by_value"]) == 48
        assert (summary["effect"]["shift"] is not None) == (task == "rdm")
        assert {path.name for path in (tmp_path / "out").iterdir()} == {"summary.json", "perturbation.png"}
        again = printed_by(perturb.main, *words, "--silence", "random", "--out", tmp_path / "again")
        assert again.splitlines()[:-1] == out.splitlines()[:-1]

    def test_an_area_of_the_front_end(self, run: Path):
        loaded = load_run(run, bank=run.parent / "bank")
        area = loaded.frontend.areas[-1]
        found = perturb_run(loaded, "lesion", "channels=0,1,2", area=area, random_sets=1, trials=6, bootstrap=5)
        assert len(found["set"]["units"]) == 3 * 4
        assert found["set"]["kind"] == "channels"
        assert "beside 1 random sets of as many channels" in lines_of(found)[0]
        assert found["control"]["trials"] == 6
        with pytest.raises(InputError, match="area=7: the run reads areas"):
            perturb_run(loaded, "lesion", "tuned", area=7)

    def test_all_silenced_choose_always_the_same(self, run: Path):
        loaded = load_run(run, bank=run.parent / "bank")
        found = perturb_run(loaded, "lesion", "random", fraction=1.0, random_sets=1, bootstrap=5)
        shares = [after for _, after in found["effect"]["choices"].values()]
        assert sorted(shares)[-1] == 1.0
        assert found["effect"]["accuracy"] == found["random"][0]["accuracy"] | {
            "interval": found["effect"]["accuracy"]["interval"]
        }

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ([], "none of them: give one of --silence, --lesion"),
            (["--silence", "tuned", "--clamp", "tuned"], "--silence and --clamp: give one of"),
            (
                ["--silence", "tunned"],
                "--silence 'tunned': is no rule; give tuned, prefer=VALUE, random, units=1,2,3, channels",
            ),
            (["--silence", "random", "--window", "dellay"], "window 'dellay' is unknown (known: "),
            (["--silence", "random", "--window", "5000:6000"], "--window 5000:6000: trials last from 0 to"),
            (["--silence", "random", "--window", "a:b"], "--window a:b: write START:END in ms"),
            (["--lesion", "random", "--window", "10:20"], "--window 10:20: a lesion lasts"),
            (["--silence", "random", "--condition", "colour"], "condition 'colour' is unknown"),
            (["--silence", "random", "--fraction", "1.5"], "--fraction 1.5: give a fraction above 0"),
            (["--silence", "units=999"], "--silence 'units=999': numbers go from 0 to 29"),
        ],
    )
    def test_mistakes_are_one_line(self, run: Path, words: list[str], message: str, tmp_path: Path):
        if "rdm" not in str(run):
            pytest.skip("the same for every task")
        assert message in refusal(run, *words, "--bank", run.parent / "bank", "--out", tmp_path / "out")

    def test_reaction_times_and_choices_at_a_bound(self, run: Path):
        if "rdm" not in str(run):
            pytest.skip("only motion has reaction times")
        loaded = load_run(run, bank=run.parent / "bank")
        loaded = replace(loaded, task=replace(loaded.task, reaction_time=True), summary={"reaction_times": {"bound": 1.0}})
        batch = loaded.heldout()
        settings, rng = PerturbationSettings("silence", "random"), np.random.default_rng(0)

        def deciding(time: np.ndarray, action: np.ndarray) -> Any:
            """Behaviour that reaches a bound of 1 at these times after motion onset, at the end of a step."""
            logits = np.zeros((*batch.targets.shape, 3), np.float32)
            for trial in np.flatnonzero(np.isfinite(time)):
                step = int((batch.periods["motion"][trial, 0] + time[trial]) / batch.dt) - 1
                logits[trial, step:, action[trial]] = 1.0
            return behaviour_of(torch.from_numpy(logits), torch.zeros(*batch.targets.shape, 1), batch)

        right = batch.answers
        first = np.full(48, 80.0)
        second = np.where(right == 1, 40.0, 120.0)
        first[0], second[1], second[2] = np.nan, np.nan, np.nan
        control, after = deciding(first, right), deciding(second, np.where(np.arange(48) == 3, 3 - right, right))
        found = effect_of(loaded, batch, control, after, "direction", None, settings, rng, bound=1.0)
        times = found["reaction_times"]
        assert times["undecided"] == [1, 2]
        assert times["trials"] == 45
        change = (second - first)[np.isfinite(first) & np.isfinite(second)]
        assert times["change"] == pytest.approx(change.mean())
        assert times["interval"][0] < change.mean() < times["interval"][1]
        assert times["before"] == pytest.approx(80 + loaded.settings.non_decision)
        assert [row["change"] for row in times["by_value"]] == pytest.approx([-40.0, 40.0])
        assert sum(row["trials"] for row in times["by_choice"]) == 45
        assert found["choices_changed"] == pytest.approx(4 / 48)  # to and from no choice, and one of the other direction
        assert found["accuracy"]["before"] == pytest.approx(47 / 48)
        assert found["accuracy"]["after"] == pytest.approx(45 / 48)
        assert sum(row["trials"] for row in found["shift"]["by_coherence"]) == 45
        never = deciding(np.full(48, np.nan), right)
        none = effect_of(loaded, batch, control, never, "direction", None, settings, rng, bound=1.0)
        assert none["shift"] is None
        assert none["reaction_times"]["change"] is none["reaction_times"]["interval"] is None

    def test_a_run_with_reaction_times(self, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        if "rdm" not in str(run):
            pytest.skip("only motion has reaction times")
        monkeypatch.setattr(analysis.figures, "save", lambda figure, path: None)
        loaded = load_run(run, bank=run.parent / "bank")
        loaded = replace(loaded, task=replace(loaded.task, reaction_time=True))
        with pytest.raises(InputError, match="its summary has no bound; finish the run, or train it with a bound"):
            perturb_run(loaded, "silence", "random")
        seen = loaded.behaviour(loaded.heldout())
        bound = float(np.quantile(np.abs(seen.logits[..., 1] - seen.logits[..., 2]).max(1), 0.3))
        loaded = replace(loaded, summary={"reaction_times": {"bound": bound}})
        options = {"random_sets": 2, "bootstrap": 20, "fraction": 0.2}
        found = perturb_run(loaded, "silence", "random", window="motion", out=tmp_path / "out", **options)
        decided = 48 - found["effect"]["reaction_times"]["undecided"][0]
        assert decided == (np.abs(seen.logits[..., 1] - seen.logits[..., 2])[:, 3:] >= bound).any(1).sum()
        assert found["control"]["accuracy"] <= decided / 48
        text = "\n".join(lines_of(found))
        assert f"(choices at a bound of {bound:.3g} log odds; " in text
        assert "reaction time (ms)" in text
        assert "reaction time of choices of 180 deg (ms)" in text
        assert "nan" not in text.replace("nance", "")

    def test_trials_of_one_direction_have_no_shift(self, run: Path):
        if "rdm" not in str(run):
            pytest.skip("only motion has a direction")
        loaded = load_run(run, bank=run.parent / "bank")
        made = prepare_perturbation(loaded, PerturbationSettings("silence", "random"))
        answers = made.batch.answers
        for one in (1, 2):
            rows = np.flatnonzero(answers == one)
            few = made.batch.select(rows)
            seen = replace(made.control, chosen=made.control.chosen[rows], correct=made.control.correct[rows])
            rng = np.random.default_rng(0)
            found = effect_of(loaded, few, seen, seen, "direction", None, made.settings, rng)
            assert found["shift"] is None

    def test_only_a_direction_that_is_preferred_is_where_choices_shift_to(self, run: Path):
        if "rdm" not in str(run):
            pytest.skip("only motion has a direction")
        loaded = load_run(run, bank=run.parent / "bank")
        made = prepare_perturbation(loaded, PerturbationSettings("silence", "random"))
        for condition, preferred in (("coherence", 0.512), ("answer", "180 deg"), ("direction", 180.0)):
            rng = np.random.default_rng(0)
            found = effect_of(loaded, made.batch, made.control, made.control, condition, preferred, made.settings, rng)
            assert found["shift"]["towards"] == (180 if condition == "direction" else 0)

    def test_the_table_names_preferred_answers(self, run: Path):
        found = perturb_run(load_run(run, bank=run.parent / "bank"), "silence", "random", random_sets=1, bootstrap=5)
        for preferred, text in (("match", "units that prefer match,"), (0.512, f"that prefer {found['condition']} 0.512,")):
            assert text in lines_of({**found, "set": {**found["set"], "preferred": preferred}})[0]

    def test_a_window_that_some_trials_lack(self, run: Path, monkeypatch: pytest.MonkeyPatch):
        loaded = load_run(run, bank=run.parent / "bank")
        stimulus = loaded.task.stimulus
        original = perturbation.validation_trials

        def others(*given: Any) -> Any:
            batch = original(*given)
            batch.periods[stimulus][::3] = np.nan
            return batch

        monkeypatch.setattr(perturbation, "validation_trials", others)
        made = prepare_perturbation(loaded, PerturbationSettings("silence", "random", window=stimulus))
        assert np.isfinite(made.scale)
        assert made.scale > 0

    def test_the_folder_of_a_run_is_not_written(self, run: Path):
        before = (run / "summary.json").read_bytes()
        words = [run, "--silence", "random", "--bank", run.parent / "bank", "--out", run]
        assert refusal(*words) == f"--out {run}: holds a run, whose summary would be replaced; choose another folder"
        assert (run / "summary.json").read_bytes() == before

    def test_no_run(self, tmp_path: Path):
        assert "none" in refused(perturb.main, tmp_path / "none", "--silence", "tuned", begun=True)
