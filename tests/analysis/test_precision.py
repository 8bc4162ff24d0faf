"""Every public function of analysis computes in double precision, whatever type of number it is given."""

import dataclasses
import inspect

import numpy as np
import pytest
import torch

from cordstasks import analysis
from cordstasks.analysis import tuning
from cordstasks.analysis.psychophysics import behaviour
from cordstasks.errors import InputError

RNG = np.random.default_rng(0)
# Whole numbers that all types hold exactly; 64 trials or samples, 5 and 4 units, 6 times.
X, Y = RNG.integers(1, 30, (64, 5)), RNG.integers(1, 30, (64, 4))
ACTIVITY = RNG.integers(0, 50, (64, 6, 5))
GROUPS = np.repeat(np.arange(8), 8)
FLAG, NUMBER = RNG.integers(0, 2, 64), np.resize(np.arange(1, 9), 64)
COHERENCE = RNG.integers(-4, 5, 64)  # in quarters, which need a type of fractions
DISTANCES = np.abs(np.subtract.outer(np.array([0, 3, 4, 9, 20, 26, 31]), np.array([0, 3, 4, 9, 20, 26, 31])))
LINE, MORPH = np.repeat([0, 1], 32), np.tile(np.repeat([0, 20, 40, 60, 80, 100, 0, 100], 4), 2)
LABELS = ["full"] * 3 + ["sparse"] * 2 + ["convolutional"] * 2
FRACTIONS = "fit_choices", "fit_weibull", "direction_tuning"


def rng():
    return np.random.default_rng(1)


# name: a call with a function that gives numbers their type
CASES = {
    "accuracy_by_condition": lambda t: analysis.accuracy_by_condition(t(NUMBER), t(FLAG)),
    "align": lambda t: analysis.align(t(X), t(Y)),
    "architecture_table": lambda t: analysis.architecture_table(t(DISTANCES), LABELS, bootstrap=20),
    "benjamini_hochberg": lambda t: analysis.benjamini_hochberg(t(FLAG)),
    "canonical_correlations": lambda t: analysis.canonical_correlations(t(X), t(Y)),
    "chance_p_value": lambda t: analysis.chance_p_value(t([45])[0], t([60])[0]),
    "closer_to": lambda t: analysis.closer_to(t(DISTANCES), LABELS, bootstrap=20),
    "cluster": lambda t: analysis.cluster(t(DISTANCES)),
    "compare_activity": lambda t: analysis.compare_activity(
        [t(ACTIVITY), t(ACTIVITY[:, ::-1] + 2)], ["a", "b"], components=3, permutations=2, progress=False
    ),
    "cross_validated_correlations": lambda t: analysis.cross_validated_correlations(t(X), t(Y), t(GROUPS)),
    "decode": lambda t: analysis.decode(t(X), t(FLAG), rng=rng(), permutations=5),
    "direction_tuning": lambda t: analysis.direction_tuning(
        t(ACTIVITY), t(NUMBER % 2), t(np.abs(COHERENCE) / 4), rng=rng(), permutations=20
    ),
    "embed": lambda t: analysis.embed(t(DISTANCES)),
    "fit_choices": lambda t: analysis.fit_choices(t(COHERENCE / 4), t(FLAG), rng=rng(), bootstrap=5),
    "fit_weibull": lambda t: analysis.fit_weibull(t(np.abs(COHERENCE) / 4), t(FLAG), rng=rng(), bootstrap=5),
    "kernel_alignment_distances": lambda t: analysis.kernel_alignment_distances([t(X), t(Y)]),
    "linear_cka": lambda t: analysis.linear_cka(t(X), t(Y)),
    "on_common_times": lambda t: analysis.on_common_times(
        [t(ACTIVITY), t(ACTIVITY)], [t(np.arange(6)), t(np.arange(1, 7))], step_ms=0.5
    ),
    "pairwise_correlations": lambda t: analysis.pairwise_correlations([t(X), t(Y)], t(GROUPS)),
    "pairwise_distances": lambda t: analysis.pairwise_distances([t(X), t(Y)], alpha=0.5, progress=False),
    "permutation_null": lambda t: analysis.permutation_null(analysis.linear_cka, t(X), t(Y), t(GROUPS), permutations=3),
    "population_angle": lambda t: analysis.population_angle(t(X), t(np.array([0, 20, 40, 80, 120]))),
    "shape_distance": lambda t: analysis.shape_distance(t(X), t(Y), alpha=0.5),
    "spearman": lambda t: analysis.spearman(t(NUMBER), t(X[:, 0])),
    "wilson_interval": lambda t: analysis.wilson_interval(t(FLAG), t(NUMBER)),
    "behaviour.angular_difference": lambda t: behaviour.angular_difference(t(NUMBER), t(X[:, 0])),
    "behaviour.angular_error": lambda t: behaviour.angular_error(t(NUMBER), t(X[:, 0]), rng=rng(), bootstrap=5),
    "behaviour.angular_error_table": lambda t: behaviour.angular_error_table(
        {"place": t(FLAG)}, t(NUMBER), t(X[:, 0]), rng=rng(), bootstrap=5
    ),
    "behaviour.confusions": lambda t: behaviour.confusions(t(NUMBER), t(NUMBER[::-1].copy())),
    "behaviour.fit_boundary": lambda t: behaviour.fit_boundary(t(MORPH), t(FLAG), rng=rng(), bootstrap=5),
    "behaviour.performance_table": lambda t: behaviour.performance_table({"number": t(NUMBER)}, t(FLAG)),
    "tuning.align": lambda t: tuning.align(tuning.cross_validated_curves(t(X), t(NUMBER), rng=rng()), period=8),
    "tuning.category_contrast": lambda t: tuning.category_contrast(_index(t, X), _index(t, Y), rng=rng(), bootstrap=5),
    "tuning.category_index": lambda t: _index(t, X),
    "tuning.cross_validated_curves": lambda t: tuning.cross_validated_curves(t(X), t(NUMBER), rng=rng()),
    "tuning.example_units": lambda t: tuning.example_units(
        tuning.tuning_curves(t(X), t(NUMBER)), tuning.selectivity(t(X), t(NUMBER), rng=rng(), permutations=0)
    ),
    "tuning.fit_gaussian": lambda t: tuning.fit_gaussian(t(X), t(NUMBER)),
    "tuning.fit_von_mises": lambda t: tuning.fit_von_mises(t(X), t(15 * NUMBER)),
    "tuning.mixed_selectivity": lambda t: tuning.mixed_selectivity(t(X), t(FLAG), t(NUMBER % 2)),
    "tuning.roc_area": lambda t: tuning.roc_area(t(X), t(FLAG)),
    "tuning.selectivity": lambda t: tuning.selectivity(t(X), t(NUMBER), rng=rng(), permutations=20),
    "tuning.selectivity_over_time": lambda t: tuning.selectivity_over_time(
        t(ACTIVITY), t(NUMBER), time_ms=t(20 * np.arange(6)), rng=rng(), permutations=5, width_ms=40
    ),
    "tuning.tuning_curves": lambda t: tuning.tuning_curves(t(X), t(NUMBER)),
    "tuning.window_mean": lambda t: tuning.window_mean(t(ACTIVITY)),
}
# these compute with a network's own steps or operators, in its precision, and refuse half precision
OF_NETWORKS = {"eigenvalues", "fixed_points", "lyapunov_exponents"}
TYPES = {
    **{kind: lambda values, kind=kind: np.asarray(values).astype(kind) for kind in ("float16", "float32", "longdouble")},
    **{kind: lambda values, kind=kind: np.asarray(values).astype(kind) for kind in ("int16", "uint8")},
    "list": lambda values: np.asarray(values).tolist(),
    "big-endian": lambda values: np.asarray(values).astype(">f4"),
    "torch.float32": lambda values: torch.tensor(np.asarray(values, dtype=np.float32), requires_grad=True),
    "torch.bfloat16": lambda values: torch.tensor(np.asarray(values, dtype=np.float32)).to(torch.bfloat16),
}


def _index(t, responses):
    return tuning.category_index(t(responses), t(MORPH > 50), t(LINE), t(MORPH), rng=rng(), permutations=9)


def _flat(result):
    if dataclasses.is_dataclass(result):
        return [part for field in dataclasses.fields(result) for part in _flat(getattr(result, field.name))]
    if isinstance(result, dict):
        return [part for value in result.values() for part in _flat(value)]
    if isinstance(result, (list, tuple)):
        return [part for value in result for part in _flat(value)]
    return [result]


def test_every_public_function_is_covered():
    public = {
        prefix + name
        for prefix, module in (("", analysis), ("behaviour.", behaviour), ("tuning.", tuning))
        for name in module.__all__
        if inspect.isfunction(getattr(module, name))
        and not (prefix and getattr(module, name) is getattr(analysis, name, None))
    }
    assert public - OF_NETWORKS == set(CASES)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", CASES)
def test_the_type_of_the_numbers_does_not_matter(name, kind):
    if (kind in ("int16", "uint8") and name in FRACTIONS) or (kind.startswith("torch") and name == "chance_p_value"):
        pytest.skip("fractions are no integers, and a count is no tensor")
    expected = _flat(CASES[name](lambda values: np.asarray(values).astype(np.float64)))
    found = _flat(CASES[name](TYPES[kind]))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, np.ndarray) and one.dtype.kind == "f":
            assert one.dtype == np.float64
        if isinstance(other, (float, int, np.number)) or (isinstance(other, np.ndarray) and other.dtype.kind in "fiub"):
            np.testing.assert_allclose(np.asarray(one, dtype=float), np.asarray(other, dtype=float), rtol=1e-9, atol=1e-12)
        elif not isinstance(other, np.ndarray):
            assert one == other


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("samples", [64, 1024, 20_000])
def test_single_and_half_precision_give_the_result_of_double_to_within_their_rounding(kind, samples):
    rng = np.random.default_rng(2)
    mixing = rng.standard_normal((6, 6))
    x = rng.standard_normal((samples, 6)) @ mixing + 3
    y = x[:, :4] + 0.5 * rng.standard_normal((samples, 4))
    tolerance = 50 * float(np.finfo(kind).eps)
    for alpha in (0.0, 0.5, 1.0):
        for metric in ("angular", "euclidean"):
            exact, rounded = (
                analysis.shape_distance(*pair, alpha=alpha, metric=metric)
                for pair in ((x, y), (x.astype(kind), y.astype(kind)))
            )
            assert rounded == pytest.approx(exact, abs=tolerance)
    rounded = analysis.canonical_correlations(x.astype(kind), y.astype(kind))
    np.testing.assert_allclose(rounded, analysis.canonical_correlations(x, y), atol=tolerance)


@pytest.mark.parametrize("samples", [50, 5000])
def test_how_many_dimensions_count_does_not_follow_the_number_of_samples(samples):
    # A direction with a three-thousandth of the amplitude of the largest is far above the rounding of single precision.
    rng = np.random.default_rng(3)
    x = rng.standard_normal((samples, 4)) * [1.0, 0.1, 3e-4, 3e-5]
    y = rng.standard_normal((samples, 5))
    assert analysis.canonical_correlations(x.astype(np.float32), y.astype(np.float32)).shape == (4,)
    # What only rounding has made is left out, and the mean of a unit that varies is not taken for rounding.
    copies = np.hstack([x[:, :2], (x[:, :1] - 2 * x[:, 1:2]) / 3]).astype(np.float32)
    assert analysis.canonical_correlations(copies, y).shape == (2,)
    far = (x[:, :2] * [1.0, 10.0] + 300).astype(np.float16)
    assert analysis.canonical_correlations(far, y).shape == (2,)


def test_small_whole_numbers_do_not_overflow():
    x = np.array([[0, 255], [255, 0], [3, 7], [250, 9]], np.uint8)
    assert analysis.shape_distance(x, x[:, ::-1]) == pytest.approx(0, abs=1e-9)
    assert analysis.chance_p_value(np.uint8(200), np.uint8(250)) == pytest.approx(analysis.chance_p_value(200, 250))
    assert behaviour.angular_difference(np.uint8([10]), np.uint8([250])).tolist() == [120.0]
    spikes = np.zeros((2, 4, 1), bool)
    spikes[0, 1] = True
    assert tuning.window_mean(spikes).tolist() == [[0.25], [0.0]]


def test_distances_from_single_precision_may_differ_in_its_last_place():
    rng = np.random.default_rng(4)
    places = rng.standard_normal((6, 3)).astype(np.float32)
    distances = np.linalg.norm(places[:, None] - places, axis=-1).astype(np.float32)
    distances[0, 1] = np.nextafter(distances[1, 0], np.float32(9))
    assert analysis.embed(distances).coordinates.shape == (6, 2)
    with pytest.raises(InputError, match="must be symmetric"):
        analysis.embed(distances.astype(np.float64))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([1 + 2j, 3]), "x must be an array of numbers .*complex128"),
        (np.array(["1", "2"]), "x must be an array of numbers"),
        (np.array(["2001-01-01", "2002-01-01"], "datetime64[D]"), "x must be an array of numbers"),
        ([1, None], "x must be an array of numbers|x holds 1 values that are not finite"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), "x holds 1 values that are not finite"),
        ([[1, 2], [3]], "x must be an array of numbers"),
    ],
)
def test_what_is_no_real_number_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        analysis.spearman(values, [1, 2])


@pytest.mark.parametrize("bootstrap", [2.5, float("nan"), None, "20", -1, [3]])
def test_a_count_is_a_whole_number(bootstrap):
    with pytest.raises(InputError, match=r"bootstrap is .*; give a whole number of at least 0"):
        behaviour.angular_error([1.0, 2.0], [0.0, 0.0], rng=rng(), bootstrap=bootstrap)
    for good in (np.int64(3), np.float32(3), np.uint8(3)):
        assert np.isfinite(behaviour.angular_error([1.0, 2.0], [0.0, 0.0], rng=rng(), bootstrap=good).interval).all()


@pytest.mark.parametrize("confidence", [None, "0.9", float("nan"), 95, 1.0])
def test_a_confidence_is_a_fraction(confidence):
    with pytest.raises(InputError, match="confidence is "):
        analysis.wilson_interval(3, 5, confidence=confidence)
