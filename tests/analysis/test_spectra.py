"""Spectra of operators against dense matrices, the FFT and the transpose identity."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator
from torch.nn import functional as F

from cordstasks.analysis import dynamics
from cordstasks.analysis.dynamics import spectra
from cordstasks.errors import InputError, Note

SHAPE = (3, 5, 7)  # channels, height, width


def kernel_of(outputs: int = 3, inputs: int = 3, sides: tuple[int, int] = (3, 5), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((outputs, inputs, *sides)) / 4


def dense(operator: LinearOperator) -> np.ndarray:
    """The matrix, column by column."""
    return np.column_stack([operator.matvec(column) for column in np.eye(operator.shape[1])])


def random_matrix(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((size, size)) / np.sqrt(size)


def separated(size: int = 400, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A non-normal matrix whose leading eigenvalues, with pairs of conjugates, stand apart; and these."""
    rng = np.random.default_rng(seed)
    blocks = np.zeros((size, size))
    values = []
    for place in range(0, 40, 2):
        modulus, angle = 2.0 * 0.95 ** (place / 2), 0.3 + 0.1 * place
        rotation = modulus * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        blocks[place : place + 2, place : place + 2] = rotation
        values += [modulus * np.exp(1j * angle), modulus * np.exp(-1j * angle)]
    blocks[40:, 40:] = np.diag(rng.uniform(-0.3, 0.3, size - 40))
    basis = np.eye(size) + 0.3 * random_matrix(size, seed + 1)
    return basis @ blocks @ np.linalg.inv(basis), np.array(values)


class TestConvolution:
    @pytest.mark.parametrize("outputs", [3, 4])
    def test_it_is_the_convolution_of_torch(self, outputs: int):
        kernel = kernel_of(outputs)
        maps = np.random.default_rng(1).standard_normal(SHAPE)
        got = dynamics.convolution_operator(kernel, SHAPE).matvec(maps.ravel())
        expected = F.conv2d(torch.from_numpy(maps)[None], torch.from_numpy(kernel), padding=(1, 2)).numpy()
        np.testing.assert_allclose(got, expected.ravel(), atol=1e-12)

    def test_circular_padding_makes_opposite_borders_neighbours(self):
        kernel, maps = kernel_of(), np.random.default_rng(1).standard_normal(SHAPE)
        got = dynamics.convolution_operator(kernel, SHAPE, padding="circular").matvec(maps.ravel())
        wrapped = F.pad(torch.from_numpy(maps)[None], (2, 2, 1, 1), mode="circular")
        np.testing.assert_allclose(got, F.conv2d(wrapped, torch.from_numpy(kernel)).numpy().ravel(), atol=1e-12)

    @pytest.mark.parametrize("padding", ["zeros", "circular"])
    @pytest.mark.parametrize("outputs", [3, 4])
    def test_its_transpose(self, outputs: int, padding: str):
        operator = dynamics.convolution_operator(kernel_of(outputs), SHAPE, padding=padding)
        matrix = dense(operator)
        np.testing.assert_allclose(operator.rmatmat(np.eye(len(matrix))), matrix.T, atol=1e-12)
        np.testing.assert_allclose(operator.matmat(np.eye(matrix.shape[1])), matrix, atol=1e-12)
        rng = np.random.default_rng(5)
        x, y = rng.standard_normal(matrix.shape[1]), rng.standard_normal(len(matrix))
        assert y @ operator.matvec(x) == pytest.approx(operator.rmatvec(y) @ x, rel=1e-10)

    def test_complex_vectors_and_many_at_once(self, monkeypatch: pytest.MonkeyPatch):
        operator = dynamics.convolution_operator(kernel_of(), SHAPE)
        matrix, rng = dense(operator), np.random.default_rng(6)
        vectors = rng.standard_normal((105, 4)) + 1j * rng.standard_normal((105, 4))
        np.testing.assert_allclose(operator.matmat(vectors), matrix @ vectors, atol=1e-12)
        monkeypatch.setattr("cordstasks.analysis.dynamics.convolution.COLUMNS", 2 * 45 * 35)
        np.testing.assert_allclose(operator.matmat(vectors), matrix @ vectors, atol=1e-12)

    def test_float32_stays_float32(self):
        operator = dynamics.convolution_operator(kernel_of().astype(np.float32), SHAPE)
        assert operator.dtype == np.float32
        assert operator.matvec(np.ones(105)).dtype == np.float32

    @pytest.mark.parametrize("sides", [(3, 3), (5, 3), (1, 7)])
    def test_the_spectrum_on_a_torus(self, sides: tuple[int, int]):
        kernel = kernel_of(sides=sides)
        expected = np.linalg.eigvals(dense(dynamics.convolution_operator(kernel, SHAPE, padding="circular")))
        got = dynamics.circular_spectrum(kernel, SHAPE)
        assert len(got) == 105
        assert (np.diff(np.abs(got)) <= 1e-12).all()
        assert max(np.abs(got - value).min() for value in expected) < 1e-9
        assert max(np.abs(expected - value).min() for value in got) < 1e-9

    @pytest.mark.parametrize(
        ("kernel", "shape", "message"),
        [
            (np.ones((3, 3, 3)), SHAPE, r"kernel of shape \(3, 3, 3\)"),
            (np.ones((3, 3, 2, 3)), SHAPE, "kernel of 2 x 3: give odd sides"),
            (np.ones((3, 4, 3, 3)), SHAPE, r"shape=\(3, 5, 7\): 3 channels, but the kernel takes 4"),
            (np.ones((3, 3, 3, 3), np.float16), SHAPE, "kernel of type float16"),
            (np.full((3, 3, 3, 3), np.nan), SHAPE, "81 of its weights are not finite"),
            (np.ones((3, 3, 3, 3)), (3, 5), r"give \(channels, height, width\)"),
            (np.ones((3, 3, 3, 3)), (3, 0, 5), "shape=0: give a whole number of at least 1"),
            (np.ones((0, 3, 3, 3)), SHAPE, "kernel of shape"),
            (np.array([["a"]]), SHAPE, "kernel of shape"),
        ],
    )
    def test_what_is_refused(self, kernel: np.ndarray, shape: Any, message: str):
        with pytest.raises(InputError, match=message):
            dynamics.convolution_operator(kernel, shape)

    def test_an_unknown_padding(self):
        with pytest.raises(InputError, match="padding 'zero' is unknown; did you mean 'zeros'"):
            dynamics.convolution_operator(kernel_of(), SHAPE, padding="zero")

    def test_a_torus_needs_as_many_outputs_as_inputs(self):
        with pytest.raises(InputError, match="kernel from 3 to 4 channels"):
            dynamics.circular_spectrum(kernel_of(4), SHAPE)


class TestEigenvalues:
    @pytest.mark.parametrize(("which", "key"), [("LM", np.abs), ("LR", np.real), ("SR", lambda v: -np.real(v))])
    def test_those_of_a_dense_matrix(self, which: str, key: Any):
        matrix, _ = separated()
        spectrum = dynamics.eigenvalues(matrix, 10, which=which, vectors=True, tolerance=1e-9)
        every = np.linalg.eigvals(matrix)
        expected = every[np.argsort(-key(every), kind="stable")][:10]
        np.testing.assert_allclose(key(spectrum.values), key(expected), atol=1e-7)
        assert spectrum.converged.all()
        assert spectrum.vectors is not None
        difference = matrix @ spectrum.vectors - spectrum.vectors * spectrum.values
        np.testing.assert_allclose(spectrum.residuals, np.linalg.norm(difference, axis=0), atol=1e-12)
        np.testing.assert_allclose(np.linalg.norm(spectrum.vectors, axis=0), 1)

    def test_conjugates_stand_side_by_side(self):
        matrix, values = separated()
        spectrum = dynamics.eigenvalues(matrix, 20)
        np.testing.assert_allclose(spectrum.values, values[:20], atol=1e-5)
        assert (spectrum.values.imag[::2] > 0).all()

    @pytest.mark.parametrize("size", [30, 400])
    def test_left_vectors(self, size: int):
        matrix = separated()[0] if size == 400 else random_matrix(size)
        spectrum = dynamics.eigenvalues(matrix, 7, vectors=True, left=True, tolerance=1e-10)
        assert spectrum.left_vectors is not None
        assert spectrum.vectors is not None
        lefts = spectrum.left_vectors
        np.testing.assert_allclose(lefts.conj().T @ matrix, spectrum.values[:, None] * lefts.conj().T, atol=1e-6)
        np.testing.assert_allclose(np.einsum("uv,uv->v", lefts.conj(), spectrum.vectors), 1, atol=1e-9)

    @pytest.mark.parametrize("kind", ["operator", "sparse", "float32"])
    def test_kinds_of_operators(self, kind: str):
        matrix, values = separated()
        given = {
            "operator": LinearOperator(matrix.shape, matvec=lambda x: matrix @ x, dtype=np.float64),
            "sparse": csr_array(matrix),
            "float32": matrix.astype(np.float32),
        }[kind]
        spectrum = dynamics.eigenvalues(given, 4, tolerance=1e-4)
        np.testing.assert_allclose(spectrum.values, values[:4], atol=1e-3)

    def test_all_of_them(self):
        matrix = random_matrix(300)
        spectrum = dynamics.eigenvalues(matrix, 300)
        assert spectrum.converged.all()
        np.testing.assert_allclose(np.abs(spectrum.values), np.sort(np.abs(np.linalg.eigvals(matrix)))[::-1], atol=1e-9)

    def test_a_convolution(self):
        kernel = kernel_of(8, 8, (3, 3)).astype(np.float32)
        operator = dynamics.convolution_operator(kernel, (8, 6, 7))
        spectrum = dynamics.eigenvalues(operator, 8, tolerance=1e-4)
        every = np.linalg.eigvals(np.asarray(operator.matmat(np.eye(336)), np.float64))
        assert max(np.abs(every - value).min() for value in spectrum.values) < 1e-3
        np.testing.assert_allclose(np.abs(spectrum.values), np.sort(np.abs(every))[::-1][:8], rtol=1e-3)

    def test_none_of_nearly_the_same_modulus_is_left_out(self):
        for seed in range(20):
            kernel = kernel_of(8, 8, (3, 3), seed)
            operator = dynamics.convolution_operator(kernel, (8, 6, 7))
            every = np.sort(np.abs(np.linalg.eigvals(operator.matmat(np.eye(336)))))[::-1]
            spectrum = dynamics.eigenvalues(operator, 6, tolerance=1e-4)
            assert spectrum.converged.all()
            np.testing.assert_allclose(np.abs(spectrum.values), every[:6], rtol=1e-3, err_msg=f"seed {seed}")

    @pytest.mark.parametrize("seed", [13, 58])
    def test_where_an_iteration_for_six_leaves_some_out(self, seed: int, monkeypatch: pytest.MonkeyPatch):
        kernel = np.random.default_rng(seed).standard_normal((16, 16, 3, 3)) / 12
        operator = dynamics.convolution_operator(kernel, (16, 8, 8), padding="circular")
        every = np.sort(np.abs(dynamics.circular_spectrum(kernel, (16, 8, 8))).ravel())[::-1]
        found = np.abs(dynamics.eigenvalues(operator, 6, tolerance=1e-4).values)
        np.testing.assert_allclose(found, every[:6], rtol=1e-3)
        monkeypatch.setattr(spectra, "MARGIN", 0)
        monkeypatch.setattr(spectra, "POWER", 1)
        assert np.abs(dynamics.eigenvalues(operator, 6, tolerance=1e-4).values / every[:6]).min() < 0.999

    def test_a_small_subspace_is_kept_to(self):
        matrix, values = separated()
        few = dynamics.eigenvalues(matrix, 6, subspace=14)
        np.testing.assert_allclose(np.abs(few.values), np.abs(values[:6]), rtol=1e-5)
        assert few.converged.all()

    def test_without_convergence_it_warns_and_says_which(self):
        matrix = random_matrix(600)
        with pytest.warns(Note, match=r"eigenvalues: \d+ of 20 have not converged, with residuals from"):
            spectrum = dynamics.eigenvalues(matrix, 20, restarts=1, subspace=24)
        assert len(spectrum) == 20
        assert not spectrum.converged.all()
        assert spectrum.residuals[~spectrum.converged].min() > 1e-6
        assert np.isfinite(spectrum.values).all()

    def test_left_vectors_warn_too(self):
        with pytest.warns(Note) as notes:
            dynamics.eigenvalues(random_matrix(600), 20, restarts=1, subspace=24, left=True)
        assert any("left eigenvectors have not converged, with residuals up to" in str(note.message) for note in notes)

    def test_an_operator_of_zeros(self):
        spectrum = dynamics.eigenvalues(np.zeros((300, 300)), 3, vectors=True)
        np.testing.assert_array_equal(spectrum.values, 0)
        assert spectrum.converged.all()
        np.testing.assert_array_equal(spectrum.vectors.conj().T @ spectrum.vectors, np.eye(3))

    def test_numbers_that_the_iteration_cannot_hold(self):
        with pytest.raises(InputError, match="operator: the iteration fails"):
            dynamics.eigenvalues(1e300 * random_matrix(300), 3)

    def test_a_product_of_another_length(self):
        operator = LinearOperator((5, 5), matvec=lambda x: x[:3], dtype=float)
        with pytest.raises(InputError, match="operator: its matvec does not give 5 values for 5"):
            dynamics.eigenvalues(operator, 2)

    def test_the_same_again(self):
        matrix, _ = separated()
        one, other = (dynamics.eigenvalues(matrix, 5, rng=4) for _ in range(2))
        np.testing.assert_array_equal(one.values, other.values)
        assert one.applications == other.applications > 40

    @pytest.mark.parametrize(
        ("operator", "options", "message"),
        [
            (np.ones((3, 4)), {}, r"operator of shape \(3, 4\)"),
            (np.ones((3, 3), np.float16), {}, "operator of type float16"),
            (np.full((3, 3), np.nan), {}, "values that are not finite"),
            (np.eye(5), {"k": 6}, "k=6: the operator has 5 eigenvalues; give at most 5"),
            (np.eye(5), {"k": 0}, "k is 0; give a whole number of at least 1"),
            (np.eye(5), {"k": 2, "which": "LX"}, "which 'LX' is unknown"),
            (np.eye(5), {"k": 2, "tolerance": 0}, "tolerance=0: give a relative residual"),
            (np.ones(3), {}, r"operator of shape \(3,\)"),
            ("W", {}, "give a matrix of numbers"),
            (np.eye(300), {"k": 3, "subspace": 301}, "subspace=301: the operator has only 300 units"),
        ],
    )
    def test_what_is_refused(self, operator: Any, options: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            dynamics.eigenvalues(operator, **{"k": 2, **options})

    def test_an_operator_that_draws_noise(self):
        rng = np.random.default_rng(0)
        operator = LinearOperator((9, 9), matvec=lambda x: x + rng.standard_normal(9), dtype=np.float64)
        with pytest.raises(InputError, match="gives other values the second time"):
            dynamics.eigenvalues(operator, 2)

    def test_a_transpose_of_another_operator(self):
        one, other = random_matrix(20, 0), random_matrix(20, 1)
        operator = LinearOperator((20, 20), matvec=lambda x: one @ x, rmatvec=lambda x: other @ x, dtype=np.float64)
        with pytest.raises(InputError, match="its rmatvec is not the transpose of its matvec"):
            dynamics.eigenvalues(operator, 2, left=True)
        with pytest.raises(InputError, match="has no rmatvec"):
            dynamics.singular_values(LinearOperator((20, 20), matvec=lambda x: one @ x, dtype=np.float64), 2)


class TestGrowth:
    @pytest.mark.parametrize("shape", [(90, 80), (80, 90), (30, 20)])
    def test_singular_values(self, shape: tuple[int, int]):
        matrix = np.random.default_rng(2).standard_normal(shape)
        expected = np.linalg.svd(matrix, compute_uv=False)[:5]
        np.testing.assert_allclose(dynamics.singular_values(matrix, 5), expected, rtol=1e-6)

    def test_numerical_abscissa_is_the_first_growth_rate(self):
        matrix = 3 * np.triu(random_matrix(90), 1) - np.eye(90)
        expected = np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1]
        assert dynamics.numerical_abscissa(matrix) == pytest.approx(expected, rel=1e-6)
        assert np.linalg.norm(expm(1e-6 * matrix), 2) == pytest.approx(1 + 1e-6 * expected, abs=1e-9)

    def test_transient_growth(self):
        matrix = 0.9 * np.eye(80) + 2 * np.triu(random_matrix(80), 1)
        expected = [np.linalg.norm(np.linalg.matrix_power(matrix, steps), 2) for steps in (0, 1, 4, 9)]
        np.testing.assert_allclose(dynamics.transient_growth(matrix, [0, 1, 4, 9]), expected, rtol=1e-5)
        assert expected[2] > 1

    def test_of_zeros_and_of_what_decays_to_them(self):
        zeros, turning = np.zeros((80, 90)), np.diag(np.ones(99), 1) - np.diag(np.ones(99), -1)
        np.testing.assert_array_equal(dynamics.singular_values(zeros, 3), 0)
        assert dynamics.numerical_abscissa(turning) == 0
        np.testing.assert_array_equal(dynamics.transient_growth(0.3 * random_matrix(100), [0, 4000])[1:], 0)

    @pytest.mark.parametrize("size", [5, 100])
    def test_growth_beyond_all_numbers(self, size: int):
        with pytest.raises(InputError, match="steps=900: activity grows beyond what numbers can hold; give fewer steps"):
            dynamics.transient_growth(3 * random_matrix(size), [1, 900])

    def test_pseudospectrum_where_singular_values_are_close(self):
        matrix = random_matrix(120)
        found = dynamics.pseudospectrum(matrix, [0.5, 2.0, 9.0], [0.2])
        dense = [np.linalg.svd((x + 0.2j) * np.eye(120) - matrix, compute_uv=False)[-1] for x in (0.5, 2.0, 9.0)]
        np.testing.assert_allclose(found[0], dense, rtol=1e-5)

    def test_pseudospectrum_below_all_numbers(self):
        np.testing.assert_array_equal(dynamics.pseudospectrum(np.diag(np.ones(899), 1), [0.3], [0.1]), 0)

    def test_pseudospectrum(self):
        matrix = random_matrix(12)
        real, imaginary = np.linspace(-1, 1, 4), np.linspace(-0.5, 1, 3)
        expected = [[np.linalg.svd((x + 1j * y) * np.eye(12) - matrix)[1][-1] for x in real] for y in imaginary]
        np.testing.assert_allclose(dynamics.pseudospectrum(matrix, real, imaginary), expected, rtol=1e-3)

    def test_of_an_eigenvalue_it_is_zero(self):
        assert dynamics.pseudospectrum(np.diag([1.0, 2.0, 3.0]), [2.0], [0.0])[0, 0] == 0

    def test_what_is_refused(self):
        with pytest.raises(InputError, match="matrix of 1001 units"):
            dynamics.pseudospectrum(np.eye(1001), [0.0], [0.0])
        with pytest.raises(InputError, match="k=4: an operator of shape"):
            dynamics.singular_values(np.ones((3, 5)), 4)
        with pytest.raises(InputError, match="steps=-1: give a whole number of at least 0"):
            dynamics.transient_growth(np.eye(3), [-1])
        with pytest.raises(InputError, match="shift=nan"):
            dynamics.shifted(np.eye(3), np.nan)

    def test_a_shift_and_its_transpose(self):
        matrix = random_matrix(9)
        moved = dynamics.shifted(matrix, 1.0)
        np.testing.assert_allclose(moved @ np.eye(9), matrix - np.eye(9), atol=1e-12)
        np.testing.assert_allclose(moved.rmatmat(np.eye(9)), matrix.T - np.eye(9), atol=1e-12)
        np.testing.assert_allclose(moved.rmatvec(np.ones(9)), (matrix.T - np.eye(9)).sum(1), atol=1e-12)


def test_nothing_warns_where_all_is_well():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dynamics.eigenvalues(separated()[0], 6)


class TestThirdPower:
    """Where products are cheap, the iteration uses the third power, in which different eigenvalues may be one."""

    @pytest.fixture(autouse=True)
    def _cheap(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spectra, "_is_cheap", lambda operator, dimension: True)

    SIZE = 360  # more than are computed directly

    def rotated(self, blocks: np.ndarray, seed: int) -> np.ndarray:
        basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(self.SIZE, self.SIZE)))[0]
        return basis @ blocks @ basis.T

    @pytest.mark.parametrize("seed", range(3))
    def test_values_whose_cubes_are_equal(self, seed: int) -> None:
        turn = np.array([[-0.5, -(0.75**0.5)], [0.75**0.5, -0.5]])  # by a third of a circle
        radii = np.linspace(1, 2, self.SIZE // 3)
        blocks = np.zeros((self.SIZE, self.SIZE))
        for place, radius in zip(range(0, self.SIZE, 3), radii, strict=True):
            blocks[place, place] = radius
            blocks[place + 1 : place + 3, place + 1 : place + 3] = radius * turn
        found = dynamics.eigenvalues(self.rotated(blocks, seed), 12)
        assert found.converged.all()
        np.testing.assert_allclose(np.sort(np.abs(found.values)), np.repeat(radii[-4:], 3), rtol=1e-9)

    @pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
    def test_scale(self, scale: float) -> None:
        values = np.concatenate([np.arange(1.0, 181), -np.arange(1.0, 181)])
        found = dynamics.eigenvalues((scale * self.rotated(np.diag(values), 0)).astype(np.float32), 8, tolerance=1e-4)
        assert found.converged.all()
        np.testing.assert_allclose(
            np.sort(found.values.real) / scale, [-180, -179, -178, -177, 177, 178, 179, 180], rtol=1e-5
        )

    def test_values_that_fall_off_faster_than_their_cubes_can_be_told_from_zero(self) -> None:
        values = 0.02 ** np.arange(self.SIZE)
        found = dynamics.eigenvalues(self.rotated(np.diag(values), 1), 4)
        np.testing.assert_allclose(found.values, values[:4], atol=1e-6)

    def test_an_operator_whose_third_power_is_zero(self) -> None:
        shift = np.zeros((self.SIZE, self.SIZE))
        shift[0, 1] = shift[1, 2] = 1
        found = dynamics.eigenvalues(shift, 2)
        np.testing.assert_allclose(found.values, 0, atol=1e-4)


def test_a_convolution_is_iterated_by_its_third_power_for_many_eigenvalues_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = np.random.default_rng(0).standard_normal((32, 32, 3, 3)) / 17
    operator = dynamics.convolution_operator(kernel, (32, 6, 6))
    asked: list[int] = []
    power = spectra._power
    monkeypatch.setattr(spectra, "_power", lambda *given: asked.append(len(asked)) or power(*given))
    few = dynamics.eigenvalues(operator, 2)
    assert not asked
    many = dynamics.eigenvalues(operator, 40)
    assert asked
    every = np.linalg.eigvals(operator.matmat(np.eye(1152)))
    every = np.sort(np.abs(every))[::-1]
    np.testing.assert_allclose(np.abs(many.values), every[:40], rtol=1e-4)
    np.testing.assert_allclose(np.abs(few.values), every[:2], rtol=1e-4)
