from itertools import product

import numpy as np
import pytest
from scipy.stats import f as f_distribution
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score

from cordstasks.analysis import tuning
from cordstasks.errors import InputError

MORPHS = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])


def _morphs(lines=4, repeats=3):
    """Trials of each picture: line, morph and category, in a scrambled order."""
    line, morph, _ = (np.array(part) for part in zip(*product(range(lines), MORPHS, range(repeats)), strict=True))
    order = np.random.default_rng(0).permutation(len(line))
    line, morph = line[order], morph[order]
    return line, morph, np.where(morph > 0.5, "dog", "cat")


def test_category_index_is_that_of_the_definition():
    rng = np.random.default_rng(1)
    line, morph, category = _morphs()
    responses = rng.gamma(1.0, 2.0, (len(line), 5))
    found = tuning.category_index(responses, category, line, morph, rng=rng, permutations=1)
    assert found.distance == pytest.approx(0.2)
    for unit in range(5):
        between, within = [], []
        for i in range(4):
            curve = [responses[(line == i) & (morph == m), unit].mean() for m in MORPHS]
            steps = np.abs(np.diff(curve))
            between.append(steps[2])
            within.append(np.delete(steps, 2).mean())
        np.testing.assert_allclose(found.between[:, unit], between)
        np.testing.assert_allclose(found.within[:, unit], within)
        b, w = np.mean(between), np.mean(within)
        assert found.index[unit] == pytest.approx((b - w) / (b + w))
    assert found.mean_index == pytest.approx(found.index.mean())


def test_pairs_of_a_larger_distance_are_those_at_that_distance():
    line, morph, category = _morphs(lines=1, repeats=1)
    responses = np.array([0.0, 1.0, 5.0, 12.0, 13.0, 20.0])[np.searchsorted(MORPHS, morph)][:, None]
    found = tuning.category_index(responses, category, line, morph, rng=np.random.default_rng(0), distance=0.4)
    assert found.between.item() == pytest.approx(((12 - 1) + (13 - 5)) / 2)
    assert found.within.item() == pytest.approx(((5 - 0) + (20 - 12)) / 2)


def test_category_units_are_told_from_shape_units():
    rng = np.random.default_rng(2)
    line, morph, category = _morphs(lines=9, repeats=10)
    slopes = rng.uniform(1, 3, 9)[line]
    step, ramp = 2.0 * (category == "dog"), slopes * morph
    still = np.zeros(len(line))
    responses = np.stack([step, ramp, still, still], axis=1) + 0.2 * rng.standard_normal((len(line), 4))
    responses[:, 3] = 1.0
    found = tuning.category_index(responses, category, line, morph, rng=rng)
    assert found.index[0] > 0.8
    assert np.abs(found.index[1]) < 0.2
    assert np.isnan(found.index[3])
    assert found.selective.tolist() == [True, False, False, False]
    assert found.p_value[0] < 0.005
    assert found.p_value[1] > 0.05
    assert found.p_value[3] == 1
    assert found.population_p_value < 0.05
    assert found.as_dict()["selective"] == 1


def test_lines_within_a_category_are_left_out():
    line, morph, category = _morphs(lines=5)
    category = np.where(line == 3, "dog", category)
    responses = np.random.default_rng(3).standard_normal((len(line), 2))
    found = tuning.category_index(responses, category, line, morph, rng=np.random.default_rng(4))
    assert found.lines.tolist() == [0, 1, 2, 4]
    kept = line != 3
    alone = tuning.category_index(responses[kept], category[kept], line[kept], morph[kept], rng=np.random.default_rng(4))
    np.testing.assert_array_equal(found.index, alone.index)
    np.testing.assert_array_equal(found.p_value, alone.p_value)


@pytest.mark.parametrize("slope", [0.0, 4.0])
def test_noise_and_ramps_are_not_called_categories(slope):
    rng = np.random.default_rng(5)
    line, morph, category = _morphs(lines=9)
    responses = slope * morph[:, None] + rng.standard_normal((len(line), 400))
    found = tuning.category_index(responses, category, line, morph, rng=rng, permutations=299)
    # Neighbouring pairs share a picture, which makes the test a little careful: never more than the nominal share.
    assert (found.p_value <= 0.05).mean() < 0.08
    assert 0.4 < found.p_value.mean() < 0.6
    assert abs(found.mean_index) < 0.03


def test_populations_are_compared_over_lines_and_units():
    rng = np.random.default_rng(10)
    line, morph, category = _morphs(lines=9, repeats=8)
    steps = (category == "dog")[:, None] * np.ones(30)
    ramps = morph[:, None] * np.ones(50)
    step, ramp, other = (
        tuning.category_index(part + 0.3 * rng.standard_normal(part.shape), category, line, morph, rng=rng, permutations=9)
        for part in (steps, ramps, ramps)
    )
    found = tuning.category_contrast(step, ramp, rng=rng)
    assert found.difference == pytest.approx(step.mean_index - ramp.mean_index)
    assert found.interval[0] > 0.2
    assert found.interval[0] < found.difference < found.interval[1]
    assert found.p_value < 0.001
    assert tuning.category_contrast(ramp, step, rng=rng).p_value > 0.999
    same = tuning.category_contrast(ramp, other, rng=rng)
    assert same.interval[0] < 0 < same.interval[1]
    assert same.as_dict()["p_value"] == same.p_value
    # A single line and unit leave nothing to draw from: every resample is the sample.
    one, two = (
        tuning.category_index(part[line == 2, :1], *(c[line == 2] for c in (category, line, morph)), rng=rng, permutations=9)
        for part in (steps, ramps)
    )
    assert tuning.category_contrast(one, two, rng=rng).interval == pytest.approx((1.0, 1.0))
    with pytest.raises(InputError, match=r"second has 1 morph lines at distance 0\.2, first 9"):
        tuning.category_contrast(step, one, rng=rng)
    still = tuning.category_index(np.ones((len(line), 2)), category, line, morph, rng=rng, permutations=9)
    with pytest.raises(InputError, match="second has no unit that tells pictures apart"):
        tuning.category_contrast(step, still, rng=rng)


def test_roc_area_agrees_with_scikit_learn():
    rng = np.random.default_rng(6)
    positive = rng.random(57) < 0.3
    responses = np.round(rng.standard_normal((57, 6)) + positive[:, None] * np.linspace(-1, 1, 6), 1)  # with ties
    responses[:, 2] = 3.0
    found = tuning.roc_area(responses, positive)
    np.testing.assert_allclose(found.area, [roc_auc_score(positive, column) for column in responses.T], rtol=1e-12)
    assert (found.area[2], found.p_value[2]) == (0.5, 1.0)


def test_roc_p_values_of_noise_are_uniform_and_of_effects_small():
    rng = np.random.default_rng(7)
    positive = np.resize([True, False, False], 90)
    noise = tuning.roc_area(rng.exponential(size=(90, 800)), positive)
    assert kstest(noise.p_value, "uniform").pvalue > 0.01
    below = tuning.roc_area(rng.standard_normal((90, 3)) - 2 * positive[:, None], positive)
    assert below.area.max() < 0.3
    assert below.p_value.max() < 1e-4


def _left(design, y):
    """Residual sum of squares and degrees of freedom of a regression, as a textbook does it."""
    coefficients, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    return float(((y - design @ coefficients) ** 2).sum()), rank


def test_two_way_effects_agree_with_explicit_regressions():
    rng = np.random.default_rng(8)
    first, second = rng.choice(["a", "b", "c"], 80, p=[0.5, 0.3, 0.2]), rng.choice([10, 20, 30, 40], 80)
    responses = 1000 + rng.standard_normal((80, 5)) + 0.5 * (first == "b")[:, None] * (second == 20)[:, None]
    responses[:, 3:] += 0.02 * second[:, None]
    found = tuning.mixed_selectivity(responses, first, second)
    constant = np.ones((80, 1))
    a = np.stack([first == name for name in "bc"], axis=1).astype(float)
    b = np.stack([second == value for value in (20, 30, 40)], axis=1).astype(float)
    products = (a[:, :, None] * b[:, None]).reshape(80, -1)
    for unit in range(5):
        y = responses[:, unit] - 1000
        full, rank = _left(np.hstack([constant, a, b, products]), y)
        additive, _ = _left(np.hstack([constant, a, b]), y)
        without_a, _ = _left(np.hstack([constant, b]), y)
        without_b, _ = _left(np.hstack([constant, a]), y)
        terms = ((found.first, without_a - additive, 2), (found.second, without_b - additive, 3))
        for effect, square, degrees in (*terms, (found.interaction, additive - full, 6)):
            f = square / degrees / (full / (80 - rank))
            assert effect.f[unit] == pytest.approx(f, rel=1e-8)
            assert effect.p_value[unit] == pytest.approx(f_distribution.sf(f, degrees, 80 - rank), rel=1e-8)
            assert effect.partial_eta_squared[unit] == pytest.approx(square / (square + full), rel=1e-8)


def test_units_are_called_by_their_kind():
    rng = np.random.default_rng(9)
    first, second = rng.choice(2, 200), rng.choice(3, 200)
    clean = np.stack([first, second == 1, first + (second == 1), first * (second == 1), 0 * first, 0 * first], axis=1)
    responses = clean + 0.2 * rng.standard_normal(clean.shape)
    responses[:, 5] = 0.1
    found = tuning.mixed_selectivity(responses, first, second, false_discovery=0.001)
    assert found.kind.tolist() == ["first", "second", "linear mixed", "nonlinear mixed", "none", "none"]
    assert found.as_dict() == {
        "units": 6,
        "none": 2,
        "first": 1,
        "second": 1,
        "linear mixed": 1,
        "nonlinear mixed": 1,
    }
    assert (found.first.f[5], found.interaction.p_value[5]) == (0.0, 1.0)
    # Without any noise the effects are certain, and what is absent stays absent.
    certain = tuning.mixed_selectivity(clean, first, second)
    assert certain.kind.tolist() == ["first", "second", "linear mixed", "nonlinear mixed", "none", "none"]
    assert certain.first.p_value[0] == 0
    assert certain.interaction.p_value[2] == 1


LINE, MORPH, CATEGORY = _morphs()


def _index(**changes):
    arguments = {"category": CATEGORY, "line": LINE, "morph": MORPH, **changes}
    return tuning.category_index(np.ones((len(LINE), 2)), **arguments, rng=np.random.default_rng())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _index(distance=0.3), r"distance is 0\.3, at which no morph line .* pictures are 0\.2, 0\.4, 0\.6"),
        (lambda: _index(distance=0.8), r"distance is 0\.8, at which no morph line has pairs both between and within"),
        (lambda: _index(category=np.resize(["cat", "dog"], len(LINE))), r"category of line \d at morph .* is not one"),
        (lambda: _index(category=np.where(LINE > 1, "cat", "dog")), "category changes on no morph line"),
        (lambda: _index(morph=MORPH[1:]), "morph has 71 trials but responses has 72"),
        (lambda: _index(line=np.arange(len(LINE))), "line has one picture each"),
        (lambda: tuning.roc_area(np.ones((4, 2)), [1, 1, 1, 1]), "positive is True in all trials"),
        (lambda: tuning.roc_area(np.ones((4, 2)), [1, 2, 1, 1]), "positive holds values other than False and True"),
        (lambda: tuning.mixed_selectivity(np.ones((4, 2)), [1, 1, 2, 2], [1, 2, 1, 1]), "first 2 with second 2 has no"),
        (lambda: tuning.mixed_selectivity(np.ones((4, 2)), [1, 1, 2, 2], [1, 2, 1, 2]), "one trial of each combination"),
        (lambda: tuning.mixed_selectivity(np.ones((4, 2)), [1, 1, 2], [1, 2, 1, 2]), "first has 3 trials but responses"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
