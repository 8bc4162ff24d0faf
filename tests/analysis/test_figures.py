import xml.etree.ElementTree

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.image import imread

from cordstasks.analysis import (
    accuracy_by_condition,
    align,
    cluster,
    direction_tuning,
    embed,
    figures,
    fit_choices,
    fit_weibull,
)
from cordstasks.errors import InputError
from helpers import assert_texts_are_readable

LEVELS = np.array([0.0, 0.032, 0.064, 0.128, 0.256, 0.512])


def _psychometric(seed=0, lowest=0, guess=False):
    rng = np.random.default_rng(seed)
    coherence = rng.choice(LEVELS[lowest:], 500)
    signed = coherence * rng.choice([-1, 1], 500)
    right = rng.random(500) < (0.5 if guess else 1 / (1 + np.exp(-14 * signed)))
    correct = np.where(signed == 0, rng.random(500) < 0.5, right == (signed > 0))
    fits = fit_choices(signed, right, rng=rng, bootstrap=50), fit_weibull(coherence, correct, rng=rng, bootstrap=50)
    return accuracy_by_condition(signed, right), accuracy_by_condition(coherence, correct), *fits


def _population(seed=0, gain=3.0, trials=300, steps=25, units=40):
    """Units have weights from -gain to gain on the direction after motion onset; the last four are silent."""
    rng = np.random.default_rng(seed)
    direction, coherence = rng.choice([0.0, 180.0], trials), rng.choice(LEVELS, trials)
    times = 20.0 * np.arange(steps) + 10
    signed = coherence * np.where(direction == 0, 1, -1)
    drive = signed[:, None, None] * (times > 200)[:, None] * np.linspace(-gain, gain, units)
    activity = drive + 0.5 * rng.standard_normal((trials, steps, units))
    activity[:, :, -4:] = 0
    tuning = direction_tuning(activity, direction, coherence, window=times > 200, permutations=200, rng=rng)
    return tuning, activity, times, direction, coherence


def _sheet():
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (3, 5, 12, 16, 3), dtype=np.uint8)


def _learning(checks=8):
    steps = np.arange(1, 401)
    at = np.linspace(50, 400, checks)
    return steps, 0.7 * np.exp(-steps / 150) + 0.05, at, np.linspace(0.5, 0.9, checks)


KINDS = ["full"] * 5 + ["low-rank"] * 4 + ["sparse"] * 3 + ["convolutional"] * 6


def _network_distances(kinds=KINDS):
    points = np.random.default_rng(0).standard_normal((len(kinds), 3)) + [[len(kind), 0, 0] for kind in kinds]
    return 0.1 * np.linalg.norm(points[:, None] - points[None], axis=-1)


def _alignments(number=3):
    """Pairs of networks over 5 conditions of 12 steps, the second a noisy turn of the first."""
    rng = np.random.default_rng(0)
    pairs = {}
    for i in range(number):
        x = np.cumsum(rng.standard_normal((5, 12, 4)), axis=1).reshape(60, 4)
        pairs[f"full - sparse {i}"] = align(
            x, x @ rng.standard_normal((4, 7)) + 0.3 * rng.standard_normal((60, 7)), components=3
        )
    return pairs


FIGURES = {
    "trajectories": lambda: figures.aligned_trajectories(_alignments(), 5, condition_names=list("abcde")),
    "trajectories, one pair": lambda: figures.aligned_trajectories(_alignments(1), 5),
    "trajectories, six pairs": lambda: figures.aligned_trajectories(
        _alignments(6), 5, held_out={title: ([0.9, 0.8, 0.7], [-0.1, 0.2]) for title in _alignments(6)}
    ),
    "distances": lambda: figures.distance_matrix(_network_distances(), KINDS),
    "distances, with names": lambda: figures.distance_matrix(
        _network_distances(), KINDS, names=[f"{kind} {i}" for i, kind in enumerate(KINDS)]
    ),
    "distances of 160": lambda: figures.distance_matrix(_network_distances(KINDS * 10), KINDS * 10),
    "embedding": lambda: figures.embedding_map(embed(_network_distances()), KINDS),
    "tree": lambda: figures.dendrogram(
        cluster(_network_distances()), KINDS, names=[f"{k} {i}" for i, k in enumerate(KINDS)]
    ),
    "tree of 160": lambda: figures.dendrogram(cluster(_network_distances(KINDS * 10)), KINDS * 10),
    "psychometric": lambda: figures.psychometric(*_psychometric()),
    "psychometric without zero": lambda: figures.psychometric(*_psychometric(lowest=3)),
    "psychometric of one coherence": lambda: figures.psychometric(*_psychometric(lowest=5)),
    "psychometric of guesses": lambda: figures.psychometric(*_psychometric(guess=True)),
    "learning": lambda: figures.learning_curve(*_learning(), validation_loss=np.linspace(0.7, 0.2, 8), best_step=350),
    "learning, briefly": lambda: figures.learning_curve([1], [0.7], [1], [0.5]),
    "population": lambda: figures.direction_population(*_population(), motion=(200, 500)),
    "population, four units": lambda: figures.direction_population(*_population(), examples=4),
    "population of noise": lambda: figures.direction_population(*_population(gain=0.0)),
    "contact sheet": lambda: figures.contact_sheet(_sheet(), ["0 %", "6.4 %, left", "51.2 %, right"], list("abcde"), "Seen"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_texts_are_large_apart_and_inside(name, monkeypatch):
    assert_texts_are_readable(FIGURES[name](), monkeypatch)


@pytest.mark.parametrize("name", FIGURES)
def test_every_panel_is_labelled(name):
    figure = FIGURES[name]()
    lowest = [axis for axis in figure.axes if axis.get_xlabel() or axis.get_ylabel()]
    assert lowest == list(figure.axes)


def test_psychometric_shows_the_data_and_the_fits():
    signed, unsigned, choices, weibull = _psychometric()
    left, right = figures.psychometric(signed, unsigned, choices, weibull).axes
    for axis, rows, fit in ((left, signed, choices), (right, unsigned, weibull)):
        bars = axis.containers[0]
        np.testing.assert_allclose(bars.lines[0].get_ydata(), [row["accuracy"] for row in rows])
        ends = np.array([segment[:, 1] for segment in bars.lines[2][0].get_segments()])
        np.testing.assert_allclose(ends, [row["interval"] for row in rows], atol=1e-12)
        curve = next(line for line in axis.lines if line.get_label().startswith(("logistic", "Weibull")))
        np.testing.assert_allclose(curve.get_ydata(), fit.predict(curve.get_xdata() / 100))
    np.testing.assert_allclose(left.containers[0].lines[0].get_xdata(), [100 * row["value"] for row in signed])
    np.testing.assert_allclose(right.containers[0].lines[0].get_xdata()[1:], 100 * LEVELS[1:])
    marked = next(line for line in right.lines if line.get_label().startswith("threshold"))
    assert marked.get_xdata()[0] == pytest.approx(100 * weibull.threshold)
    assert right.get_xscale() == "log"
    assert [tick.get_text() for tick in right.get_xticklabels()] == ["0", "3.2", "6.4", "12.8", "25.6", "51.2"]
    assert 0 < right.get_xticks()[0] < 0.8 * right.get_xticks()[1]


def test_a_threshold_outside_the_range_is_not_marked():
    right = figures.psychometric(*_psychometric(guess=True)).axes[1]
    assert not any(line.get_label().startswith("threshold") for line in right.lines)


def test_learning_curve_marks_chance_and_the_best_step():
    steps, loss, at, accuracy = _learning()
    top, bottom = figures.learning_curve(steps, loss, at, accuracy, chance=0.25, best_step=300).axes
    lines = {line.get_label(): line for line in bottom.lines}
    np.testing.assert_array_equal(lines["validation"].get_xydata(), np.stack([at, accuracy], axis=1))
    assert set(lines["chance"].get_ydata()) == {0.25}
    assert set(lines["best step, 300"].get_xdata()) == {300}
    # A running mean of an exponential decay is the decay times a constant, where the offset is taken off.
    mean = next(line for line in top.lines if "running" in line.get_label())
    ratio = (mean.get_ydata() - 0.05) / np.exp(-mean.get_xdata() / 150)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)


def test_heat_map_shows_held_out_differences():
    tuning, activity, times, direction, coherence = _population()
    figure = figures.direction_population(tuning, activity, times, direction, coherence, motion=(200, 500))
    heat = figure.axes[0]
    picture = heat.images[0].get_array()
    assert picture.shape == (36, 25)
    strongest = ~tuning.first_half & (coherence == 0.512)
    difference = activity[strongest & (direction == 0)].mean(axis=0) - activity[strongest & (direction == 180)].mean(axis=0)
    signed = np.where(tuning.preferred_first == 0, 1, -1) * difference / np.where(tuning.varies, tuning.scale, 1)
    rows = {tuple(np.round(row, 9)) for row in signed.T[:36]}
    assert {tuple(np.round(row, 9)) for row in np.asarray(picture)} == rows
    # By preferred direction, the strongest of each above.
    zero = int((tuning.preferred_first[:36] == 0).sum())
    late = times > 200
    assert picture[0, late].mean() > picture[zero - 1, late].mean() + 1
    assert picture[zero, late].mean() > picture[-1, late].mean() + 1
    assert {line.get_xdata()[0] for line in heat.lines if line.get_linestyle() == ":"} == {200, 500}


def test_heat_map_of_noise_has_no_preference():
    picture = figures.direction_population(*_population(gain=0.0, units=200)).axes[0].images[0].get_array()
    # 196 units and 25 steps of independent noise: the mean is within four standard errors of 0.
    assert abs(picture.mean()) < 4 * picture.std() / np.sqrt(picture.size)


def test_the_clearest_units_are_drawn_over_time():
    tuning, activity, times, direction, coherence = _population()
    figure = figures.direction_population(tuning, activity, times, direction, coherence, examples=2)
    panels = [axis for axis in figure.axes if "prefers" in axis.get_title(loc="left")]
    assert [int(axis.get_title(loc="left").split()[1]) for axis in panels] == tuning.clearest(2).tolist()
    unit = tuning.clearest(1)[0]
    strongest = coherence == 0.512
    expected = activity[strongest & (direction == tuning.preferred[unit]), :, unit].mean(axis=0)
    solid = [line for line in panels[0].lines if line.get_linestyle() == "-"]
    np.testing.assert_allclose(solid[-1].get_ydata(), expected)


def test_contact_sheet_shows_each_picture_in_its_place():
    images = _sheet()
    axis = figures.contact_sheet(images, list("abc"), list("vwxyz"), "Seen").axes[0]
    sheet = np.asarray(axis.images[0].get_array())
    for row, y in enumerate(axis.get_yticks()):
        for column, x in enumerate(axis.get_xticks()):
            top, left = int(y - 5.5), int(x - 7.5)
            np.testing.assert_array_equal(sheet[top : top + 12, left : left + 16], images[row, column])


def test_save_writes_a_png_or_leaves_the_old_one(tmp_path, monkeypatch):
    target = tmp_path / "learning.png"
    figure = figures.learning_curve(*_learning())
    figures.save(figure, target)
    assert imread(target).shape[:2] == (6 * 150, 9 * 150)
    before = target.read_bytes()

    def half(file, **_):
        file.write(before[: len(before) // 2])
        raise OSError("no space left")

    monkeypatch.setattr(figure, "savefig", half)
    with pytest.raises(OSError, match="no space left"):
        figures.save(figure, target)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
@pytest.mark.parametrize("name", ["learning", "contact sheet"])
def test_the_same_figure_gives_the_same_bytes(kind, name, tmp_path, monkeypatch):
    for number, date in enumerate(("0", "86400")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", date)  # matplotlib's clock, where it writes a date
        figures.save(FIGURES[name](), tmp_path / f"{number}.{kind}")
    first, second = ((tmp_path / f"{number}.{kind}").read_bytes() for number in range(2))
    assert first == second
    assert b"1970" not in first


def test_text_stays_text_in_svg_and_pdf(tmp_path):
    rc = dict(rcParams)
    for name in ("a.svg", "a.PDF"):
        figures.save(figures.learning_curve(*_learning()), tmp_path / name)
    assert dict(rcParams) == rc
    drawn = "".join(xml.etree.ElementTree.parse(tmp_path / "a.svg").getroot().itertext())
    assert "cross-entropy (nats)" in drawn
    pdf = (tmp_path / "a.PDF").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/Type3" not in pdf
    assert b"/Type42" in pdf or b"/TrueType" in pdf or b"/CIDFontType2" in pdf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: figures.save(Figure(), "a.jpg"), r"path=a\.jpg: .* end in \.png, \.svg or \.pdf"),
        (lambda: figures.save(Figure(), "png"), r"path=png: .* end in \.png, \.svg or \.pdf"),
        (lambda: figures.psychometric([], *_psychometric()[1:]), "signed has no rows"),
        (lambda: figures.learning_curve([1, 2], [0.5], [1], [0.5]), "train_loss has 1 trials but steps has 2"),
        (lambda: figures.contact_sheet(_sheet(), ["a"], list("vwxyz"), ""), "row_labels has 1 labels for 3"),
        (lambda: figures.contact_sheet(_sheet() / 255, list("abc"), list("vwxyz"), ""), "type float64; give uint8"),
        (
            lambda: figures.direction_population(*(_population()[:2]), np.arange(3), *_population()[3:]),
            r"activity has shape \(300, 25, 40\); tuning and time_ms call for \(trial, time, unit\) \(300, 3, 40\)",
        ),
        (
            lambda: figures.direction_population(*_population()[:3], np.full(300, 90.0), _population()[4]),
            "holds values that tuning has not seen",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
