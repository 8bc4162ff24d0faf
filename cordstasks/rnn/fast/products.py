"""Sums of products of small matrices, as vector instructions.

A block of some rows of the left and some vectors of columns of the right matrix is done at a time. Its sums stay in
registers, 24 vectors of them with AVX-512 and 12 with AVX2, and each number of the left is multiplied with a few vectors of
the right: so most instructions are products, not loads. Seven vectors, as 100 units need, are done as four and three.
"""

# mypy: ignore-errors
# what numba compiles looks like Python, but has types of its own

from __future__ import annotations

from llvmlite import ir
from numba import njit
from numba.core import cgutils

from cordstasks.utils.vectors import FLOAT, INT, LANES, VECTOR, Vector, written

__all__ = ["LANES", "add_product"]

# rows of a block of so many vectors: sums, a line of the right and a factor of the left fit the registers, and so do the
# distances of the rows
ROWS = {4: 6, 3: 8, 2: 8, 1: 8} if LANES == 16 else {4: 2, 3: 4, 2: 6, 1: 8}
MOST = 4 if LANES == 16 else 3  # vectors
WIDTH = LANES * FLOAT  # bytes of a vector


def _block(rows, vectors):
    """A function: `rows` rows of the left times `vectors` vectors of each line of the right, added to the sums.

    All strides are in bytes: `left_row` between rows and `left_step` along them, so that the left may be transposed.
    """

    def write(code, left, left_row, left_step, right, right_row, sums, sums_row, length):
        builder = code.builder
        width = ir.Constant(INT, WIDTH)
        ends = [code.at(sums, sums_row, row) for row in range(rows)]
        kept = [[cgutils.alloca_once(builder, VECTOR) for _ in range(vectors)] for _ in range(rows)]
        for row in range(rows):
            for vector in range(vectors):
                builder.store(code.load(code.at(ends[row], width, vector)).value, kept[row][vector])
        with code.counting(length) as (number, _):
            line = builder.add(right, builder.mul(number, right_row))
            first = builder.add(left, builder.mul(number, left_step))
            factors = [code.load(code.at(line, width, vector)) for vector in range(vectors)]
            for row in range(rows):
                number_of_left = code.scalar(code.at(first, left_row, row))
                for vector in range(vectors):
                    sum_ = Vector(builder, builder.load(kept[row][vector], typ=VECTOR))
                    builder.store((number_of_left * factors[vector] + sum_).value, kept[row][vector])
        for row in range(rows):
            for vector in range(vectors):
                value = Vector(builder, builder.load(kept[row][vector], typ=VECTOR))
                code.store(value, code.at(ends[row], width, vector))

    return written(write)


def _panel(vectors):
    """A function: any number of rows of the left times so many vectors of each line of the right."""
    largest = ROWS[vectors]
    whole, four, two, one = (_block(rows, vectors) for rows in (largest, 4, 2, 1))

    @njit
    def panel(left, left_row, left_step, right, right_row, sums, sums_row, rows, length):
        while rows > 0:
            if rows >= largest:
                whole(left, left_row, left_step, right, right_row, sums, sums_row, length)
                taken = largest
            elif rows >= 4:
                four(left, left_row, left_step, right, right_row, sums, sums_row, length)
                taken = 4
            elif rows >= 2:
                two(left, left_row, left_step, right, right_row, sums, sums_row, length)
                taken = 2
            else:
                one(left, left_row, left_step, right, right_row, sums, sums_row, length)
                taken = 1
            left += taken * left_row
            sums += taken * sums_row
            rows -= taken

    return panel


_one, _two, _three, _four = (_panel(vectors) for vectors in (1, 2, 3, 4))


@njit
def add_product(left, left_row, left_step, right, right_row, sums, sums_row, rows, length, vectors):
    """Sums += left @ right, for matrices at these addresses.

    The sums have `rows` rows and `vectors` vectors of columns, and `length` products are added to each. `left_row` bytes lie
    between the rows of the left, `left_step` between the numbers of a row; lines of the right and of the sums lie
    `right_row` and `sums_row` apart.
    """
    panels = -(-vectors // MOST)
    while panels > 0:
        taken = -(-vectors // panels)  # panels of about the same width
        if taken == 4:
            _four(left, left_row, left_step, right, right_row, sums, sums_row, rows, length)
        elif taken == 3:
            _three(left, left_row, left_step, right, right_row, sums, sums_row, rows, length)
        elif taken == 2:
            _two(left, left_row, left_step, right, right_row, sums, sums_row, rows, length)
        else:
            _one(left, left_row, left_step, right, right_row, sums, sums_row, rows, length)
        right += taken * WIDTH
        sums += taken * WIDTH
        vectors -= taken
        panels -= 1
