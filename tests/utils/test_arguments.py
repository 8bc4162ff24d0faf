"""Arguments of any type that stands for the documented one: taken as that, or refused in one line at once."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch

from cordstasks import tasks
from cordstasks.analysis import figures
from cordstasks.analysis.figures.style import PlainFigure
from cordstasks.cordsnet import CordsNet, load
from cordstasks.errors import InputError
from cordstasks.frontend import FrontEnd
from cordstasks.rnn import RNN, load_published
from cordstasks.rnn.connectivity import KINDS, Connectivity, Convolutional, LowRank, Sparse, balanced, named
from cordstasks.rnn.stack import RNNStack
from cordstasks.stimuli import Display, Numerosity
from cordstasks.tasks import AbstractTask, VisualTask
from cordstasks.training.abstract_settings import Settings
from cordstasks.utils.arguments import plain, plain_fields
from cordstasks.utils.command_line import named_path

VISUAL = tuple(name for name in tasks.names() if name in ("rdm", "numerosity", "catdog", "saccade"))
ABSTRACT = tasks.abstract_names()
CONNECTIVITIES: dict[str, Connectivity] = {name: named(name) for name in KINDS}


def numpy_of(value: Any) -> Any:
    """A NumPy value, or array, for a documented one."""
    if isinstance(value, tuple) and value:
        return np.array(value)
    scalars = {bool: np.bool_, int: np.int64, float: np.float64, str: np.str_}
    return scalars[type(value)](value) if type(value) in scalars else value


def list_of(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def small_of(value: Any) -> Any:
    """The smallest types that hold a value exactly."""
    if isinstance(value, tuple) and value and all(isinstance(part, (int, float)) for part in value):
        return np.array(value, np.float32 if all(float(np.float32(part)) == part for part in value) else np.float64)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 128:
        return np.array(np.int8(value))
    return np.float32(value) if isinstance(value, float) and float(np.float32(value)) == value else value


class TestTasks:
    @pytest.mark.parametrize("make", [numpy_of, list_of, small_of])
    @pytest.mark.parametrize("name", [*VISUAL, *ABSTRACT])
    def test_every_parameter_may_be_numpys(self, name: str, make: Callable[[Any], Any]) -> None:
        own = tasks.get(name)
        given = {field.name: make(getattr(own, field.name)) for field in dataclasses.fields(own)}
        other = tasks.get(name, **given)
        assert other == own
        assert repr(other) == repr(own)  # the very types too
        if make is not list_of:
            assert hash(other) == hash(own)

    @pytest.mark.parametrize("name", [*VISUAL, *ABSTRACT])
    def test_every_parameter_of_another_type_is_refused(self, name: str) -> None:
        own = tasks.get(name)
        for field in dataclasses.fields(own):
            value = getattr(own, field.name)
            for wrong in (object(), {"a": 1}, 1j, float("nan") if isinstance(value, (int, float)) else b"x"):
                with pytest.raises(InputError, match=f"^{field.name}=[^\n]*$"):
                    tasks.get(name, **{field.name: wrong})

    def test_arrays_of_the_issue(self) -> None:
        task = tasks.get(
            "rdm", directions=np.array([0, 90]), coherences=[0.1, 0.5], sets=np.int64(3), motion=np.float32(100)
        )
        assert task.directions == (0, 90)
        batch = task.sample(np.int64(4), seed=np.uint8(3), dt=np.int64(20))
        assert set(batch.conditions["direction"]) <= {0.0, 90.0}
        assert task.actions == ("fixate", "0 deg", "90 deg")
        assert tasks.get("saccade", places=range(0, 360, 90), delays=np.array([500])).places == (0, 90, 180, 270)
        assert tasks.get("dms", delay=np.array([100, 300])).delay == (100, 300)
        assert tasks.get("numerosity", numbers=np.arange(1, 4), diameters=[0.5, 0.6]).numbers == (1, 2, 3)
        assert tasks.get("catdog", levels=np.array([0.0, 1.0]), display=Display(pixels=np.int16(32))).display.pixels == 32

    def test_stimuli_take_arrays_too(self) -> None:
        own = Numerosity(3, "standard", diameters=(0.4, 0.8), spacings=(2.0, 1.0), luminance=(0.25, 0.75))
        pairs = {"diameters": [0.4, 0.8], "spacings": [2.0, 1.0], "luminance": [0.25, 0.75]}
        for make in (list, np.array, tuple):
            made = Numerosity(np.int64(3), "standard", **{name: make(pair) for name, pair in pairs.items()})
            assert made == own
            assert hash(made) == hash(own)

    @pytest.mark.parametrize(
        ("name", "given", "message"),
        [
            ("rdm", {"directions": 90}, "directions=90: give a tuple of numbers"),
            ("rdm", {"directions": "left"}, "directions='left': give a tuple of numbers"),
            ("rdm", {"directions": [[0, 180]]}, r"directions=\(\(0, 180\),\): give a tuple of finite numbers"),
            ("rdm", {"coherences": [0.1, np.nan]}, r"coherences=\(0.1, nan\): give a tuple of finite numbers"),
            ("rdm", {"sets": 2.5}, "sets=2.5: give a whole number"),
            ("rdm", {"motion": True}, "motion=True: give a duration in ms"),
            ("rdm", {"paired": "yes"}, "paired='yes': give True or False"),
            ("rdm", {"display": 64}, "display=64: give a Display"),
            ("saccade", {"places": {0, 90}}, "places={0, 90}: give angles in deg"),
            ("memory-pro", {"places": 8.5}, "places=8.5: give 0 for any angle"),
            ("memory-pro", {"places": True}, "places=True: give 0 for any angle"),
            ("dms", {"delay": [500, 1000, 1500]}, "delay=.*: give a duration above 0 ms, or .shortest, longest."),
            ("dms", {"noise": None}, "noise=None: give a finite number"),
            ("parametric-wm", {"differences": ["a"]}, "differences=.*: give a tuple of whole numbers"),
            ("catdog", {"lines": "tabby-hound"}, "lines='tabby-hound': give a tuple of names or None"),
        ],
    )
    def test_wrong_ones_say_what_is_asked_for(self, name: str, given: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=f"^{message}"):
            tasks.get(name, **given)


class TestSampling:
    @pytest.mark.parametrize("name", [*VISUAL, *ABSTRACT])
    @pytest.mark.parametrize("seed", [None, 1.5, -1, "1", True, 2**63, [], [None], np.float64(2), {}])
    def test_a_seed_that_is_none_is_refused(self, name: str, seed: Any) -> None:
        with pytest.raises(InputError, match=r"^seed=.*: give a whole number of at least 0"):
            tasks.get(name).sample(2, seed=seed)

    @pytest.mark.parametrize("name", [*VISUAL, *ABSTRACT])
    @pytest.mark.parametrize("trials", [None, 1.5, 0, -1, "3", True, [3], np.float64(3)])
    def test_a_number_of_trials_that_is_none_is_refused(self, name: str, trials: Any) -> None:
        with pytest.raises(InputError, match=r"^trials=.*: draw at least 1"):
            tasks.get(name).sample(trials, seed=0)

    @pytest.mark.parametrize("name", [*VISUAL, *ABSTRACT])
    @pytest.mark.parametrize("dt", [None, float("nan"), float("inf"), 0, "20", [20], True])
    def test_a_step_that_is_none_is_refused(self, name: str, dt: Any) -> None:
        with pytest.raises(InputError, match=r"^dt=.*a time step must be above 0 ms"):
            tasks.get(name).sample(2, seed=0, dt=dt)

    @pytest.mark.parametrize("name", [*VISUAL, *ABSTRACT])
    def test_numpys_numbers_draw_the_same_trials(self, name: str) -> None:
        task = tasks.get(name)
        expected = task.sample(3, seed=5, dt=20.0)
        for kind in (np.int64, np.uint8, np.array):
            batch = task.sample(kind(3), seed=kind(5), dt=kind(20))
            assert type(batch.dt) is float
            for condition, values in expected.conditions.items():
                np.testing.assert_array_equal(batch.conditions[condition], values)
                assert batch.conditions[condition].dtype == values.dtype
            np.testing.assert_array_equal(batch.targets, expected.targets)

    def test_a_seed_may_be_a_sequence_where_it_says_so(self) -> None:
        task = tasks.get("dms")
        expected = task.sample(3, seed=[4, 2]).inputs
        for seed in ((4, 2), np.array([4, 2]), [np.int64(4), np.uint8(2)], np.random.SeedSequence([4, 2])):
            np.testing.assert_array_equal(task.sample(3, seed=seed).inputs, expected)

    @pytest.mark.parametrize("dt", [20, 20.0, np.int64(20), np.float32(20)])
    def test_a_duration_is_kept_as_it_was_given_at_any_step(self, dt: Any) -> None:
        for name in ("dms", "memory-pro", "parametric-wm"):
            batch = tasks.get(name).sample(3, seed=0, dt=dt, delay=512.7)
            assert batch.conditions["delay"].tolist() == [512.7] * 3
            assert (np.diff(batch.periods["delay"], axis=1) == 25).all()  # the steps that fit into it
            free = tasks.get(name).sample(3, seed=0, dt=dt).conditions["delay"]
            assert free.dtype == np.float64

    def test_conditions_may_be_numpys(self) -> None:
        task = tasks.get("rdm", motion=100.0)
        expected = task.sample(2, seed=0, coherence=0.5, direction=180.0)
        batch = task.sample(2, seed=0, coherence=np.float16(0.5), direction=np.array(180))
        np.testing.assert_array_equal(batch.movies[1].frames, expected.movies[1].frames)
        assert (tasks.get("catdog").sample(2, seed=0, match=np.bool_(True)).conditions["match"] == 1).all()
        with pytest.raises(InputError, match=r"catch=0\.5: choose one of 0, 1"):
            tasks.get("dms").sample(2, seed=0, catch=0.5)
        with pytest.raises(InputError, match="coherence=nan: give a number"):
            task.sample(2, seed=0, coherence=np.nan)

    def test_trials_and_their_start_are_whole(self) -> None:
        for name in VISUAL:
            task: VisualTask = tasks.get(name)
            assert len(task.trials(np.int64(2), seed=np.int64(1), start=np.int8(3))) == 2
            for bad in ({"seed": 1.5}, {"start": -1}, {"start": 0.5}):
                with pytest.raises(InputError, match="give a whole number"):
                    task.trials(2, **{"seed": 0, **bad})

    def test_scores_of_a_single_target_are_told_apart(self) -> None:
        task: AbstractTask = tasks.get("memory-pro", places=4)
        alike = task.sample(3, seed=0, angle=90)
        assert not task.can_score(alike)
        assert task.can_score(task.sample(3, seed=0, angle=[0, 90, 90]))
        assert not tasks.get("dms").can_score(tasks.get("dms").sample(2, seed=0, catch=1))
        assert tasks.get("dms").can_score(tasks.get("dms").sample(1, seed=0))


class TestSettings:
    def test_numpys_values_are_taken(self) -> None:
        given = {
            "units": np.int64(40),
            "connectivity": "conv",
            "shape": [2, 4, 5],
            "seeds": range(3),
            "noise": np.float32(0.25),
            "parameters": {"delay": np.array([500, 1000]), "noise": np.float64(0.1)},
        }
        made = Settings("dms", **given)
        same = Settings(
            "dms",
            units=40,
            connectivity="conv",
            shape=(2, 4, 5),
            seeds=(0, 1, 2),
            noise=0.25,
            parameters={"delay": (500, 1000), "noise": 0.1},
        )
        assert made == same
        assert made.as_dict() == same.as_dict()
        assert Settings.from_dict(made.as_dict()) == made

    @pytest.mark.parametrize(
        "field",
        [field.name for field in dataclasses.fields(Settings) if field.name not in ("task", "parameters")],
    )
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), "much", object()])
    def test_what_is_no_value_is_refused(self, field: str, value: Any) -> None:
        with pytest.raises(InputError, match=rf"^{field}|^unknown {field}"):
            Settings("dms", **{field: value})

    @pytest.mark.parametrize("field", ["heldout", "validation"])
    @pytest.mark.parametrize("name", ABSTRACT)
    def test_trials_that_have_no_score_are_refused_at_once(self, name: str, field: str) -> None:
        if tasks.get(name).measure == "accuracy":
            assert getattr(Settings(name, **{field: 1}), field) == 1
        else:
            with pytest.raises(InputError, match=f"{field}=1: R2, by which task {name} is scored, needs at least 2 trials"):
                Settings(name, **{field: 1})


class TestNetworks:
    @pytest.mark.parametrize("name", CONNECTIVITIES)
    def test_numpys_sizes_make_the_same_network(self, name: str) -> None:
        def network(whole: Callable[[Any], Any], real: Callable[[Any], Any]) -> RNN:
            generator = torch.Generator().manual_seed(0)
            connectivity = named(name, rank=whole(2), density=real(0.25), shape=[whole(4), whole(5), whole(5)])
            sizes = {"units": whole(100), "outputs": whole(2), "gain": real(0.5), "noise": real(0.25)}
            times = {"dt": whole(20), "tau": whole(100)}
            return RNN(whole(3), **sizes, **times, excitatory=real(0.5), connectivity=connectivity, generator=generator)

        one, other = network(int, float), network(np.int64, np.float32)
        assert one.settings() == other.settings()
        assert type(other.alpha) is float
        for key, value in one.state_dict().items():
            assert torch.equal(other.state_dict()[key], value)
        inputs = np.random.default_rng(0).standard_normal((2, 6, 3))
        expected = one(torch.from_numpy(inputs).float())
        assert torch.equal(other(inputs), expected)  # an array, in double precision
        assert torch.equal(other(torch.from_numpy(inputs)), expected)
        RNNStack([one, other])(np.stack([inputs, inputs]))

    @pytest.mark.parametrize("name", CONNECTIVITIES)
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, "x", None, [0.5, 0.5], 1j])
    @pytest.mark.parametrize("parameter", ["gain", "noise", "dt", "tau", "units", "inputs", "outputs", "excitatory"])
    def test_what_is_no_number_is_refused(self, name: str, parameter: str, value: Any) -> None:
        if parameter == "excitatory" and value is None:
            pytest.skip("no such law")
        with pytest.raises(InputError, match=rf"^({parameter}=|dt=.*tau=|tau of shape)"):
            RNN(**{"inputs": 2, "units": 100, "connectivity": CONNECTIVITIES[name], parameter: value})

    @pytest.mark.parametrize(
        "connectivity",
        [
            *(LowRank(bad) for bad in (2.5, float("nan"), None, "2", 0, 101)),
            *(Sparse(bad) for bad in (float("nan"), None, "dense", 0)),
            *(Convolutional(bad, 5, 5) for bad in (4.0, None, "4", float("nan"))),
            "full",
            3,
        ],
        ids=repr,
    )
    def test_a_connectivity_that_is_none_is_refused(self, connectivity: Any) -> None:
        with pytest.raises(InputError):
            RNN(2, 100, connectivity=connectivity)

    def test_shapes_and_time_constants_may_be_arrays(self) -> None:
        assert named("conv", shape=np.array([2, 3, 4])) == Convolutional(2, 3, 4)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"shape=\(2, 3\): give channels, height and width"):
            named("conv", shape=(2, 3))  # type: ignore[arg-type]
        for tau in ([50.0] * 6, np.full(6, 50), torch.full((6,), 50.0), (50,) * 6):
            assert torch.allclose(torch.as_tensor(RNN(2, 6, tau=tau).alpha), torch.tensor(0.4))

    def test_cordsnets(self) -> None:
        network = CordsNet(
            np.int64(2), classes=np.int8(4), in_channels=np.int64(1), image_size=np.int64(32), dt=np.float32(5)
        )
        assert (type(network.depth), type(network.image_size), type(network.dt)) == (int, int, float)
        activity = network.record(
            np.zeros((1, 32, 32, 1), np.uint8), blank_steps=np.int64(1), image_steps=2, areas=np.array([1])
        )
        assert list(activity) == [1]
        assert activity[1].shape[0] == 3
        for bad in ({"depth": 2.5}, {"depth": None}, {"dt": float("nan")}, {"noise": float("nan")}, {"noise": "x"}):
            with pytest.raises(InputError, match=next(iter(bad))):
                CordsNet(**{"depth": 2, "image_size": 32, **bad})
        for bad in ({"classes": 2.5}, {"in_channels": float("nan")}, {"image_size": None}, {"activation": float("nan")}):
            with pytest.raises(InputError, match=next(iter(bad))):
                CordsNet(**{"depth": 2, "image_size": 32, **bad})
        with pytest.raises(InputError, match="image_steps=-1: give a whole number of at least 0"):
            network.record(np.zeros((1, 32, 32, 1), np.uint8), image_steps=-1)

    def test_front_ends(self) -> None:
        network = CordsNet(2, classes=2, image_size=32)
        front_end = FrontEnd(network, device="cpu", bank=False, batch=np.int64(3), tolerance=np.float32(0.01))
        assert front_end.batch == 3
        movies = tasks.get("saccade", cue=20.0, fixation=20.0, delays=[20.0], response=20.0).sample(2, seed=0).movies
        assert front_end.features(np.array(movies, object), dt=np.int64(20)).steps == 4
        for bad in ({"batch": 0}, {"batch": 2.5}, {"tolerance": float("nan")}, {"tolerance": "x"}):
            with pytest.raises(InputError, match=next(iter(bad))):
                FrontEnd(network, device="cpu", bank=False, **bad)
        for dt in (float("nan"), None, "20", [20]):
            with pytest.raises(InputError, match="give a multiple of the front-end's step"):
                front_end.features(movies, dt=dt)  # type: ignore[arg-type]

    @pytest.mark.parametrize("given", [{"alpha": float("nan")}, {"noise": float("nan")}, {"noise": -1}])
    def test_published_networks(self, given: dict[str, float]) -> None:
        with pytest.raises(InputError, match=next(iter(given))):
            load_published("none.pt", **given)


@pytest.fixture
def double() -> Iterator[None]:
    """A user who has made double precision PyTorch's default."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


class TestDefaultPrecision:
    @pytest.mark.parametrize("name", CONNECTIVITIES)
    @pytest.mark.parametrize("excitatory", [None, 0.75])
    @pytest.mark.usefixtures("double")
    def test_recurrent_networks_are_the_same(self, name: str, excitatory: float | None) -> None:
        def run() -> list[torch.Tensor]:
            generator = torch.Generator().manual_seed(0)
            made = {"connectivity": CONNECTIVITIES[name], "excitatory": excitatory, "train_initial": True}
            network = RNN(2, 100, noise=0.1, generator=generator, **made)
            inputs = torch.from_numpy(np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 6, 2))
            rates = network(inputs, return_states=True, generator=generator)
            noise = [np.random.default_rng(seed) for seed in range(2)]
            stacked = RNNStack([network, network])(inputs.repeat(2, 1, 1, 1), noise=noise)
            return [*network.state_dict().values(), *rates, stacked, network.connectivity.matrix()]

        found = run()
        torch.set_default_dtype(torch.float32)
        for one, other in zip(found, run(), strict=True):
            assert one.dtype == torch.float32
            assert torch.equal(one, other)
        signs = torch.tensor([1.0, -1.0])
        assert balanced(torch.ones(2, 2), signs).dtype == torch.float32

    @pytest.mark.usefixtures("double")
    def test_the_front_end_is_the_same(self) -> None:
        def run() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            images = np.random.default_rng(0).integers(0, 256, (1, 40, 40, 3), np.uint8)
            network = load("cordsnet-r8")
            assert {value.dtype for value in network.state_dict().values()} == {torch.float32}
            activity = network.record(images, blank_steps=1, image_steps=2)[7]
            again = network.record(network.preprocess(images).double(), blank_steps=1, image_steps=2)[7]
            assert torch.equal(activity, again)
            task = tasks.get("saccade", cue=20.0, fixation=20.0, delays=(20.0,), response=20.0)
            features = FrontEnd(network, device="cpu", bank=False).features(task.sample(2, seed=0).movies)
            torch.manual_seed(0)
            return activity, features.take(slice(None)), CordsNet(2, classes=2, image_size=32).inp_conv.weight

        found = run()
        torch.set_default_dtype(torch.float32)
        for one, other in zip(found, run(), strict=True):
            assert one.dtype == torch.float32
            assert torch.equal(one, other)


class TestFigures:
    def test_a_users_latex_is_put_aside(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
        def latex(*_: Any, **__: Any) -> None:
            raise AssertionError("LaTeX was asked for")

        monkeypatch.setattr("matplotlib.texmanager.TexManager.get_text_width_height_descent", latex)
        monkeypatch.setattr("matplotlib.texmanager.TexManager.make_dvi", latex)
        checks = {"validation_steps": [2, 4], "validation_accuracy": [0.5, 0.9]}
        with matplotlib.rc_context({"text.usetex": True}):
            figure = figures.learning_curve([1, 2, 3], [0.9, 0.5, 0.4], chance=0.5, **checks)
            assert isinstance(figure, PlainFigure)
            axis = figure.axes[0]
            axis.set_yscale("log")  # ticks made while drawing
            axis.set_title("share_of_trials %")
            figures.save(figure, tmp_path / "one.png")
            figures.save(figures.distance_matrix([[0.0, 0.5], [0.5, 0.0]], ["full_one", "50 %"]), tmp_path / "two.png")
            assert matplotlib.rcParams["text.usetex"] is True
        assert (tmp_path / "two.png").stat().st_size > 1000


class TestPlain:
    def test_values(self) -> None:
        assert plain(np.array([[1, 2], [3, 4]])) == ((1, 2), (3, 4))
        assert type(plain(np.float16(0.5))) is float
        assert plain([np.int8(1), (np.str_("a"),)]) == (1, ("a",))
        assert plain(torch.tensor([1.0, 2.0])) == (1.0, 2.0)
        assert plain(None) is None
        assert plain({"a": 1}) == {"a": 1}

    def test_the_checker_names_the_field(self) -> None:
        @dataclasses.dataclass(frozen=True)
        class Own:
            sizes: tuple[int, ...] = (1,)
            share: float | None = None

            def __post_init__(self) -> None:
                plain_fields(self, share="a share")

        with pytest.raises(InputError, match=r"^share='x': give a share$"):
            Own(share="x")  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"^sizes=\(1.5,\): give a tuple of whole numbers$"):
            Own(sizes=[1.5])  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "  ", "\t"])
def test_an_empty_path_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is empty"):
        named_path(text)


@pytest.mark.parametrize("command", ["train", "abstract.command", "compare", "sweep", "bank", "pretrain", "tasks.__main__"])
def test_every_command_refuses_an_empty_path(command: str) -> None:
    actions = _actions(importlib.import_module(f"cordstasks.{command}").parser())
    assert any(action.type is named_path for action in actions)
    assert not any(action.type is Path for action in actions)


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The arguments of a command and of its subcommands."""
    found = list(parser._actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [each for sub in action.choices.values() for each in _actions(sub)]
    return found
