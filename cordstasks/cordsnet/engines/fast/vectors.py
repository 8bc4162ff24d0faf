"""What the compiled loops consist of: products of matrices, and transforms of tiles, as vector instructions.

They are written with `cordstasks.utils.vectors` and work on addresses in bytes; arrays are float32, and lengths in channels
are multiples of `COLUMNS`.

The product of matrices takes `ROWS` rows of the left and `COLUMNS` columns of the right matrix at a time, whose sums stay
in registers: 6 x 64 with AVX-512, 6 x 16 with AVX2. The right matrix is stored in panels of that many columns
(`room.panels`), so that it is read from front to end.
"""

# mypy: ignore-errors
# what numba compiles looks like Python, but has types of its own

from __future__ import annotations

from llvmlite import ir
from numba import njit
from numba.core import cgutils

from cordstasks.cordsnet.engines.fast.transforms import FOUR, PAIR, SINGLE, TWO
from cordstasks.cordsnet.engines.portable import SMALLEST
from cordstasks.utils.vectors import FLOAT, INT, LANES, SUPPORTED, VECTOR, Vector, written

__all__ = ["COLUMNS", "FLOAT", "SUPPORTED", "add", "copy", "product", "tile_in", "tile_out"]

VECTORS = 4 if LANES == 16 else 2  # in a row of a block: 6 x VECTORS sums, VECTORS factors and one more fit the registers
COLUMNS = VECTORS * LANES
ROWS = 6


def _block(rows, *, add):
    """A function: `rows` rows of `left` times one panel, added to what is there or not."""

    def write(code, left, left_stride, panel, sums, sums_stride, length):
        builder = code.builder
        width = ir.Constant(INT, LANES * FLOAT)
        starts = [code.at(left, left_stride, row) for row in range(rows)]
        ends = [code.at(sums, sums_stride, row) for row in range(rows)]
        kept = [[cgutils.alloca_once(builder, VECTOR) for _ in range(VECTORS)] for _ in range(rows)]
        for row in range(rows):
            for vector in range(VECTORS):
                first = code.load(code.at(ends[row], width, vector)).value if add else ir.Constant(VECTOR, [0.0] * LANES)
                builder.store(first, kept[row][vector])
        with code.counting(length) as (number, _):
            line = builder.add(panel, builder.mul(number, ir.Constant(INT, COLUMNS * FLOAT)))
            right = [code.load(code.at(line, width, vector)) for vector in range(VECTORS)]
            for row in range(rows):
                factor = code.scalar(builder.add(starts[row], code.bytes_of(number)))
                for vector in range(VECTORS):
                    sum_ = Vector(builder, builder.load(kept[row][vector], typ=VECTOR))
                    builder.store((factor * right[vector] + sum_).value, kept[row][vector])
        for row in range(rows):
            for vector in range(VECTORS):
                value = Vector(builder, builder.load(kept[row][vector], typ=VECTOR))
                code.store(value, code.at(ends[row], width, vector))

    return written(write)


@njit
def _next_rows(rest):
    """How many of so many rows a block takes, so that no block is left with one row if it can be avoided."""
    if rest <= 3:
        return rest
    if rest == 7 or rest == 8:
        return 4
    if rest == 9:
        return 5
    return min(rest, ROWS)


def _blocks(*, add):
    """A function: any number of rows times one panel, in blocks."""
    one, two, three, four, five, six = (_block(rows, add=add) for rows in range(1, ROWS + 1))

    @njit
    def panel_product(left, left_stride, panel, sums, sums_stride, rows, length):
        done = 0
        while done < rows:
            taken = _next_rows(rows - done)
            if taken == 6:
                six(left, left_stride, panel, sums, sums_stride, length)
            elif taken == 5:
                five(left, left_stride, panel, sums, sums_stride, length)
            elif taken == 4:
                four(left, left_stride, panel, sums, sums_stride, length)
            elif taken == 3:
                three(left, left_stride, panel, sums, sums_stride, length)
            elif taken == 2:
                two(left, left_stride, panel, sums, sums_stride, length)
            else:
                one(left, left_stride, panel, sums, sums_stride, length)
            done += taken
            left += taken * left_stride
            sums += taken * sums_stride

    return panel_product


_panel_product, _panel_product_added = _blocks(add=False), _blocks(add=True)


@njit
def product(left, left_stride, right, sums, sums_stride, rows, length, columns, add):
    """Sums = left @ right, or with `add` sums += left @ right, for `right` (length, columns) in panels."""
    for number in range(columns // COLUMNS):
        panel = right + number * length * COLUMNS * FLOAT
        target = sums + number * COLUMNS * FLOAT
        if add:
            _panel_product_added(left, left_stride, panel, target, sums_stride, rows, length)
        else:
            _panel_product(left, left_stride, panel, target, sums_stride, rows, length)


def _write_copy(code, source, target, floats):
    with code.counting(floats, LANES) as (number, _):
        offset = code.bytes_of(number)
        code.store(code.load(code.builder.add(source, offset)), code.builder.add(target, offset))


def _write_sum(code, first, second, target, floats):
    with code.counting(floats, LANES) as (number, _):
        offset = code.bytes_of(number)
        total = code.load(code.builder.add(first, offset)) + code.load(code.builder.add(second, offset))
        code.store(total, code.builder.add(target, offset))


copy = written(_write_copy)
add = written(_write_sum)


def _tile_in(algorithm):
    """A function: the factors B'dB of one tile.

    The first input lies at `source`, the next ones `row` and `pixel` bytes from it. The factors are written `apart` bytes
    from one another.
    """

    def write(code, source, row, pixel, target, apart, channels):
        with code.counting(channels, LANES) as (channel, _):
            offset = code.bytes_of(channel)
            corner, place = code.builder.add(source, offset), code.builder.add(target, offset)
            columns = []
            for x in range(algorithm.inputs):
                top = code.at(corner, pixel, x)
                columns.append(algorithm.of_inputs([code.load(code.at(top, row, y)) for y in range(algorithm.inputs)]))
            for i in range(algorithm.products):
                for j, factor in enumerate(algorithm.of_inputs([column[i] for column in columns])):
                    code.store(factor, code.at(place, apart, i * algorithm.products + j))

    return written(write)


def _tile_out(algorithm):
    """A function: the step of one tile, new = old + alpha (relu(A'MA + drive) - old), or 0 where that is below `SMALLEST`.

    The products M lie `apart` bytes from one another. Of the tile's outputs, `height` x `width` are on the map; old and new
    state have the same strides, the drive has its own.
    """

    def write(code, products, apart, drive, drive_row, drive_pixel, old, new, row, pixel, channels, height, width, alpha):
        builder, count = code.builder, algorithm.products
        fraction = code.everywhere(alpha)

        def update(value, y, x, offset):
            at = builder.add(offset, code.within(row, y, pixel, x))
            seen = builder.add(offset, code.within(drive_row, y, drive_pixel, x))
            before = code.load(builder.add(old, at))
            target = (value + code.load(builder.add(drive, seen))).positive()
            code.store((fraction * (target - before) + before).at_least(SMALLEST), builder.add(new, at))

        with code.counting(channels, LANES) as (channel, _):
            offset = code.bytes_of(channel)
            place = builder.add(products, offset)
            columns = [
                algorithm.of_products([code.load(code.at(place, apart, i * count + j)) for i in range(count)])
                for j in range(count)
            ]
            for y in range(algorithm.outputs):
                values = algorithm.of_products([column[y] for column in columns])
                with builder.if_then(builder.icmp_signed(">", height, ir.Constant(INT, y)), likely=True):
                    for x, value in enumerate(values):
                        with builder.if_then(builder.icmp_signed(">", width, ir.Constant(INT, x)), likely=True):
                            update(value, y, x, offset)

    return written(write, floats=1)


four_in, two_in, pair_in, single_in = (_tile_in(algorithm) for algorithm in (FOUR, TWO, PAIR, SINGLE))
four_out, two_out, pair_out, single_out = (_tile_out(algorithm) for algorithm in (FOUR, TWO, PAIR, SINGLE))


@njit
def tile_in(number, source, row, pixel, target, apart, channels):
    """The factors of a tile, by the algorithm of this number; see `_tile_in`."""
    if number == 0:
        four_in(source, row, pixel, target, apart, channels)
    elif number == 1:
        two_in(source, row, pixel, target, apart, channels)
    elif number == 2:
        pair_in(source, row, pixel, target, apart, channels)
    else:
        single_in(source, row, pixel, target, apart, channels)


@njit
def tile_out(number, products, apart, drive, drive_row, drive_pixel, old, new, row, pixel, channels, height, width, alpha):
    """The step of a tile, by the algorithm of this number; see `_tile_out`."""
    if number == 0:
        four_out(products, apart, drive, drive_row, drive_pixel, old, new, row, pixel, channels, height, width, alpha)
    elif number == 1:
        two_out(products, apart, drive, drive_row, drive_pixel, old, new, row, pixel, channels, height, width, alpha)
    elif number == 2:
        pair_out(products, apart, drive, drive_row, drive_pixel, old, new, row, pixel, channels, height, width, alpha)
    else:
        single_out(products, apart, drive, drive_row, drive_pixel, old, new, row, pixel, channels, height, width, alpha)
