"""One step of several areas as one Triton kernel: products, drive, relu and Euler update, with nothing written between.

Needs Triton, so only `cordstasks.cordsnet.engines.fused` imports it, where that says how everything is laid out.
"""

# mypy: ignore-errors
# what Triton compiles looks like Python, but has types of its own

from __future__ import annotations

import triton
import triton.language as tl

BLOCK = tl.constexpr(64)  # channels that lie together; every area has a multiple of them
UNIT_FIELDS = tl.constexpr(8)
AREA_FIELDS = tl.constexpr(32)


@triton.jit
def _choose(second, third, a, b, c):
    """`c` in the third segment, `b` in the second, `a` in the first."""
    return tl.where(third, c, tl.where(second, b, a))


@triton.jit
def _taps(at, side, stride, dilation, UNIFORM: tl.constexpr):
    """First tap and number of taps of a 3-tap kernel that fall on the source's map from position `at` of the target's."""
    if UNIFORM:
        first = tl.where(stride * at - dilation < 0, 1, 0)
        count = tl.where(stride * at + dilation < side, 3, 2) - first
    else:
        first, count = 0, 3
    return first, count


@triton.jit
def _rounded(x, TF32: tl.constexpr):
    """`x`, which is not negative, as the products read it: to the nearest TF32, since the tensor cores would cut it off."""
    if TF32:
        return ((x.to(tl.int32, bitcast=True) + 0x1000) & -0x2000).to(tl.float32, bitcast=True)
    else:
        return x.to(tl.bfloat16)


@triton.jit
def _halves(tile):
    """The first and the second half of a tile's columns."""
    split = tl.reshape(tile, (tile.shape[0], 2, tile.shape[1] // 2))
    return tl.split(tl.permute(split, (0, 2, 1)))


@triton.jit
def _update(
    acc,
    n0,
    state,
    target,
    drive,
    total,
    base,
    drive_base,
    drive_batch,
    drive_images,
    total_base,
    site,
    image,
    inside,
    blocks,
    batch,
    alpha,
    UNIFORM: tl.constexpr,
    TF32: tl.constexpr,
):
    """Euler update of the channels from `n0`, whose summed products are `acc`."""
    channel = n0 + tl.arange(0, acc.shape[1])
    out_block = channel // BLOCK
    out_column = (channel - out_block * BLOCK)[None, :]
    place = site * blocks + out_block[None, :]
    own = ((base + place) * batch + image[:, None]) * BLOCK + out_column
    shown = (drive_base + place * drive_batch + image[:, None] * drive_images) * BLOCK + out_column
    if UNIFORM:
        before = tl.load(state + own)
        fed = tl.load(drive + shown)
    else:
        before = tl.load(state + own, mask=inside[:, None], other=0.0)
        fed = tl.load(drive + shown, mask=inside[:, None], other=0.0)
    after = before + alpha * (tl.maximum(acc + fed, 0.0) - before)
    sent = _rounded(after, TF32)
    if UNIFORM:
        tl.store(state + own, after)
        tl.store(target + own, sent)
    else:
        tl.store(state + own, after, mask=inside[:, None])
        tl.store(target + own, sent, mask=inside[:, None])
    if total_base >= 0:
        sums = total + ((total_base + place) * batch + image[:, None]) * BLOCK + out_column
        if UNIFORM:
            tl.store(sums, tl.load(sums) + after)
        else:
            kept = tl.load(sums, mask=inside[:, None], other=0.0)
            tl.store(sums, kept + after, mask=inside[:, None])


@triton.jit(do_not_specialize=["batch"])
def advance(
    units,
    areas,
    state,
    source,
    target,
    weights,
    drive,
    total,
    partial,
    counters,
    batch,
    alpha,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    UNIFORM: tl.constexpr,
    SPLIT: tl.constexpr,
    TF32: tl.constexpr,
    BULK: tl.constexpr,
    PIECES: tl.constexpr,
):
    """One unit of work: a tile (BM rows of positions and images, BN channels) of an area, or a part of its products."""
    unit = units + tl.program_id(0) * UNIT_FIELDS
    area = areas + tl.load(unit) * AREA_FIELDS
    m0 = tl.load(unit + 1) * BM
    n0 = tl.load(unit + 2) * BN
    part = tl.load(unit + 3)
    tile = tl.load(unit + 4)
    side, blocks, base = tl.load(area), tl.load(area + 1), tl.load(area + 2)
    drive_base, drive_images, total_base = tl.load(area + 3), tl.load(area + 4), tl.load(area + 5)
    parts, weight_base = tl.load(area + 6), tl.load(area + 7)
    channels = blocks * BLOCK
    base_a, side_a, log_a = tl.load(area + 8), tl.load(area + 9), tl.load(area + 10)
    stride_a, dilation_a, weight_a = tl.load(area + 11), tl.load(area + 12), tl.load(area + 13)
    base_b, side_b, log_b = tl.load(area + 14), tl.load(area + 15), tl.load(area + 16)
    stride_b, dilation_b, weight_b = tl.load(area + 17), tl.load(area + 18), tl.load(area + 19)
    base_c, side_c, log_c = tl.load(area + 20), tl.load(area + 21), tl.load(area + 22)
    stride_c, dilation_c, weight_c = tl.load(area + 23), tl.load(area + 24), tl.load(area + 25)
    segments = tl.load(area + 26)

    rows = tl.arange(0, BM)
    if UNIFORM:  # all rows are images at one position, so that taps beyond the map's edge are left out
        position = m0 // batch
        first_image = m0 - position * batch
        image = first_image + rows
        inside = rows >= 0
    else:
        position = (m0 + rows) // batch
        image = (m0 + rows) - position * batch
        inside = (m0 + rows) < side * side * batch
    y = position // side
    x = position - y * side
    site = position if UNIFORM else position[:, None]

    if UNIFORM:
        y0_a, ny_a = _taps(y, side_a, stride_a, dilation_a, UNIFORM)
        x0_a, nx_a = _taps(x, side_a, stride_a, dilation_a, UNIFORM)
        y0_b, ny_b = _taps(y, side_b, stride_b, dilation_b, UNIFORM)
        x0_b, nx_b = _taps(x, side_b, stride_b, dilation_b, UNIFORM)
        y0_c, ny_c = _taps(y, side_c, stride_c, dilation_c, UNIFORM)
        x0_c, nx_c = _taps(x, side_c, stride_c, dilation_c, UNIFORM)
        taps_a, taps_b, taps_c = ny_a * nx_a, ny_b * nx_b, ny_c * nx_c
    else:
        taps_a, taps_b, taps_c = 9, 9, 9
    HALVES: tl.constexpr = BLOCK // BK
    end_a = (taps_a << log_a) * HALVES
    end_b = end_a + tl.where(segments > 1, taps_b << log_b, 0) * HALVES
    end_c = end_b + tl.where(segments > 2, taps_c << log_c, 0) * HALVES
    if SPLIT:
        first, last = end_c * part // parts, end_c * (part + 1) // parts
    else:
        first, last = 0, end_c

    columns = tl.arange(0, BK)
    outputs = tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(first, last):
        second, third = k >= end_a, k >= end_b
        j = k - _choose(second, third, 0, end_a, end_b)
        half = j % HALVES
        j = j // HALVES
        log = _choose(second, third, log_a, log_b, log_c)
        s_side = _choose(second, third, side_a, side_b, side_c)
        stride = _choose(second, third, stride_a, stride_b, stride_c)
        dilation = _choose(second, third, dilation_a, dilation_b, dilation_c)
        tap = j >> log
        block = j - (tap << log)
        if UNIFORM:
            nx = _choose(second, third, nx_a, nx_b, nx_c)
            ty = (tap * tl.where(nx == 3, 11, tl.where(nx == 2, 16, 32))) >> 5  # tap // nx, for taps 0 to 8
            ky = ty + _choose(second, third, y0_a, y0_b, y0_c)
            kx = tap - ty * nx + _choose(second, third, x0_a, x0_b, x0_c)
        else:
            ky = (tap * 11) >> 5
            kx = tap - ky * 3
        sy = stride * y + dilation * (ky - 1)
        sx = stride * x + dilation * (kx - 1)
        s_base = _choose(second, third, base_a, base_b, base_c)
        a_row = (s_base + ((sy * s_side + sx) << log) + block) * batch
        w_block = _choose(second, third, weight_a, weight_b, weight_c) + ((ky * 3 + kx) << log) + block
        w_row = weight_base + w_block * channels + n0
        if BULK:  # `source` and `weights` are descriptors, whose tiles are fetched as a whole
            a = source.load([a_row + first_image, half * BK])
            w = weights.load([w_row, half * BK])
        else:
            a_at = source + (a_row + image)[:, None] * BLOCK + (half * BK + columns)[None, :]
            if UNIFORM:
                a = tl.load(a_at)
            else:
                seen = inside & (sy >= 0) & (sy < s_side) & (sx >= 0) & (sx < s_side)
                a = tl.load(a_at, mask=seen[:, None], other=0.0)
            w = tl.load(weights + (w_row + outputs)[:, None] * BLOCK + (half * BK + columns)[None, :])
        acc = tl.dot(a, tl.trans(w), acc, input_precision="tf32")

    last_one = True
    if SPLIT:
        last_one = parts > 0
        if parts > 1:
            # whoever comes last adds up what all have stored, in a fixed order
            at = rows[:, None] * BN + outputs[None, :]
            tl.store(partial + (tile + part) * (BM * BN) + at, acc)
            tl.debug_barrier()
            arrived = tl.atomic_add(counters + tile, 1, sem="acq_rel")
            last_one = arrived == parts - 1
            if last_one:
                tl.debug_barrier()
                acc = tl.zeros((BM, BN), dtype=tl.float32)
                for number in range(parts):
                    acc += tl.load(partial + (tile + number) * (BM * BN) + at, cache_modifier=".cg")
                tl.store(counters + tile, 0)
    if last_one:
        drive_batch = tl.where(drive_images > 0, batch, 1)
        # a few channels at a time, since a whole tile's activity, drive and addresses do not fit beside its sums
        if PIECES == 4:
            low, high = _halves(acc)
            first_piece, second_piece = _halves(low)
            third_piece, fourth_piece = _halves(high)
            pieces = (first_piece, second_piece, third_piece, fourth_piece)
        elif PIECES == 2:
            pieces = _halves(acc)
        else:
            pieces = (acc,)
        for number in tl.static_range(PIECES):
            _update(
                pieces[number],
                n0 + number * (BN // PIECES),
                state,
                target,
                drive,
                total,
                base,
                drive_base,
                drive_batch,
                drive_images,
                total_base,
                site,
                image,
                inside,
                blocks,
                batch,
                alpha,
                UNIFORM,
                TF32,
            )
