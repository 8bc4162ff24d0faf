import numpy as np
import pytest
from scipy.cluster.hierarchy import cophenet, leaves_list
from scipy.spatial.distance import squareform

from cordstasks.analysis import align, cluster, embed, figures, wilson_interval
from cordstasks.errors import InputError

LABELS = ["sparse", "full", "sparse", "full", "full", "low-rank", "sparse"]


@pytest.fixture(scope="module")
def distances():
    points = np.random.default_rng(0).standard_normal((7, 3))
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


@pytest.fixture(scope="module")
def alignment():
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.standard_normal((5, 12, 4)), axis=1).reshape(60, 4)
    return align(x, x + rng.standard_normal((60, 4)))


def test_trajectories_are_the_coordinates_of_each_condition(alignment):
    axis = figures.aligned_trajectories({"a pair": alignment}, 5).axes[0]
    for style, coordinates in (("-", alignment.x_coordinates), ("--", alignment.y_coordinates)):
        lines = [line for line in axis.lines if line.get_linestyle() == style]
        assert len(lines) == 5
        for i, line in enumerate(lines):
            np.testing.assert_array_equal(line.get_xydata(), coordinates[12 * i : 12 * i + 12, :2])
    starts = [line.get_xydata()[0] for line in axis.lines if line.get_marker() == "o"]
    np.testing.assert_array_equal(starts[0], alignment.x_coordinates[0, :2])
    assert len(starts) == 10
    solid, dashed = ([line.get_color() for line in axis.lines if line.get_linestyle() == style] for style in ("-", "--"))
    assert solid == dashed and len(set(solid)) == 5


def test_correlations_at_the_axes_say_where_they_come_from(alignment):
    axis = figures.aligned_trajectories({"a pair": alignment}, 5).axes[0]
    assert f"r = {alignment.correlations[0]:.2f} (not held out)" in axis.get_xlabel()
    axis = figures.aligned_trajectories({"a pair": alignment}, 5, held_out={"a pair": ([0.81, 0.72], [0.1, -0.2])}).axes[0]
    assert "r = 0.81 (shuffled 0.10)" in axis.get_xlabel()
    assert "r = 0.72 (shuffled -0.20)" in axis.get_ylabel()


def test_distances_are_sorted_by_label(distances):
    figure = figures.distance_matrix(distances, LABELS, names=list("abcdefg"))
    axis = figure.axes[0]
    order = ["abcdefg".index(text.get_text()) for text in axis.get_yticklabels()]
    assert [LABELS[i] for i in order] == ["sparse"] * 3 + ["full"] * 3 + ["low-rank"]
    picture = np.ma.filled(axis.images[0].get_array(), np.nan)
    expected = distances[np.ix_(order, order)]
    np.testing.assert_array_equal(picture[~np.eye(7, dtype=bool)], expected[~np.eye(7, dtype=bool)])
    assert np.isnan(np.diag(picture)).all()
    assert {line.get_ydata()[0] for line in axis.lines if line.get_ydata()[0] == line.get_ydata()[1]} == {2.5, 5.5}
    assert list(zip(axis.get_xticks(), [text.get_text() for text in axis.get_xticklabels()], strict=True)) == [
        (1.0, "sparse"),
        (4.0, "full"),
        (6.0, "low-rank"),
    ]


def test_places_bear_the_marks_of_their_labels(distances):
    embedding = embed(distances)
    axis = figures.embedding_map(embedding, LABELS, unit="").axes[0]
    lines = {line.get_label(): line for line in axis.lines}
    assert list(lines) == ["sparse", "full", "low-rank"]
    for kind, line in lines.items():
        rows = [i for i, label in enumerate(LABELS) if label == kind]
        np.testing.assert_array_equal(line.get_xydata(), embedding.coordinates[rows, :2])
    assert len({(line.get_color(), line.get_marker()) for line in lines.values()}) == 3
    assert f"{embedding.stress:.2f}" in axis.get_title(loc="left")


def test_leaves_of_the_tree(distances):
    tree = cluster(distances)
    axis = figures.dendrogram(tree, LABELS, names=list("abcdefg")).axes[0]
    named = {text.get_text(): tick for text, tick in zip(axis.get_xticklabels(), axis.get_xticks(), strict=True)}
    order = sorted(range(7), key=lambda i: named["abcdefg"[i]])
    assert order == leaves_list(tree).tolist()
    for kind in ("sparse", "full", "low-rank"):
        (line,) = [line for line in axis.lines if line.get_label() == kind]
        assert set(line.get_xdata()) == {named["abcdefg"[i]] for i, label in enumerate(LABELS) if label == kind}
    heights = {round(float(max(line.get_ydata())), 9) for line in axis.lines if len(line.get_xdata()) == 4}
    assert heights == set(np.round(squareform(cophenet(tree)), 9)[np.triu_indices(7, 1)])


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"alignments": {}}, "alignments is empty"),
            ({"conditions": 7}, "conditions is 7, which does not divide the 60 samples of 'a pair'"),
            ({"conditions": 0}, "conditions is 0; give a whole number of at least 1"),
            ({"condition_names": ["one"]}, "condition_names has 1 entries for 5 conditions"),
            ({"held_out": {"pair": ([0.5, 0.5], [0, 0])}}, "held_out title 'a pair' is unknown; did you mean 'pair'"),
            ({"held_out": {"a pair": ([0.5, 0.5], [0])}}, r"held_out\['a pair'\] has 1 dimension; give at least 2"),
        ],
    )
    def test_of_trajectories(self, alignment, options, message: str):
        with pytest.raises(InputError, match=message):
            figures.aligned_trajectories(**{"alignments": {"a pair": alignment}, "conditions": 5, **options})

    def test_one_dimension(self, distances):
        line = np.arange(60.0)[:, None]
        with pytest.raises(InputError, match=r"alignments\['line'\] has 1 dimension"):
            figures.aligned_trajectories({"line": align(line, line)}, 5)
        with pytest.raises(InputError, match="embedding has 1 dimension; give one of at least 2"):
            figures.embedding_map(embed(distances, dimensions=1), LABELS)

    def test_labels_and_names(self, distances):
        with pytest.raises(InputError, match="labels has 6 entries for 7 networks"):
            figures.distance_matrix(distances, LABELS[:6])
        with pytest.raises(InputError, match="labels has 6 entries for 7 networks"):
            figures.embedding_map(embed(distances), LABELS[:6])
        with pytest.raises(InputError, match="names has 2 entries for 7 networks"):
            figures.dendrogram(cluster(distances), LABELS, names=["a", "b"])


ROWS = {"mnist/r2": {"ours": {"R": 80.0, "CNN": 95.0}, "paper": {"R": 97.45, "C": 98.07, "CNN": 98.56}}}


class TestAccuracies:
    def test_intervals_are_of_the_first_source(self):
        (axis,) = figures.accuracies(ROWS, ["R", "C", "CNN"], images=200).axes
        ours, paper = axis.lines
        assert ours.get_xydata().tolist() == [[0, 80], [2, 95]]
        assert paper.get_xydata().tolist() == [[0, 97.45], [1, 98.07], [2, 98.56]]
        (bars,) = axis.collections
        expected = [wilson_interval(160, 200), wilson_interval(190, 200)]
        for segment, (low, high) in zip(bars.get_segments(), expected, strict=True):
            assert segment[:, 1] == pytest.approx([100 * low, 100 * high])

    @pytest.mark.parametrize(
        ("rows", "message"),
        [({}, "rows or columns is empty"), ({"x": {"ours": {"R": 101.0}}}, r"rows\['x'\]\['ours'\] has .*101")],
    )
    def test_bad_input(self, rows, message: str):
        with pytest.raises(InputError, match=message):
            figures.accuracies(rows, ["R"], images=10)
