"""Vector instructions for compiled code: numbers in registers, memory, and loops, as functions that numba can call.

numba's own code cannot say how many sums are to be kept in registers, so such functions are written as LLVM instructions
(`intrinsic`), which numba compiles for the processor at hand. They work on addresses in bytes; arrays are float32.
"""

# mypy: ignore-errors
# what numba compiles looks like Python, but has types of its own

from __future__ import annotations

from inspect import signature

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

__all__ = ["FEATURES", "FLOAT", "INT", "LANES", "SUPPORTED", "VECTOR", "Code", "Vector", "written"]

FEATURES = (config.CPU_FEATURES or get_host_cpu_features()).split(",")  # of the processor that numba compiles for
SUPPORTED = "+avx2" in FEATURES and "+fma" in FEATURES
LANES = 16 if "+avx512f" in FEATURES else 8  # floats in a vector
FLOAT = 4  # bytes

INT, _FLOAT = ir.IntType(64), ir.FloatType()
VECTOR = ir.VectorType(_FLOAT, LANES)


class Vector:
    """A vector in the code that is being made, whose operators write instructions; a product and its sum may be fused."""

    def __init__(self, builder, value):
        self.builder, self.value = builder, value

    def __add__(self, other):
        return Vector(self.builder, self.builder.fadd(self.value, other.value, flags=("contract",)))

    def __sub__(self, other):
        return Vector(self.builder, self.builder.fsub(self.value, other.value, flags=("contract",)))

    def __mul__(self, other):
        return Vector(self.builder, self.builder.fmul(self.value, other.value, flags=("contract",)))

    def __rmul__(self, number):
        return Vector(self.builder, ir.Constant(VECTOR, [number] * LANES)) * self

    def positive(self):
        """Elements below zero, and nan, become zero."""
        zero = ir.Constant(VECTOR, [0.0] * LANES)
        return Vector(self.builder, self.builder.select(self.builder.fcmp_ordered(">", self.value, zero), self.value, zero))

    def at_least(self, smallest):
        """Elements below `smallest` become zero; nan stays."""
        bound, zero = (ir.Constant(VECTOR, [number] * LANES) for number in (smallest, 0.0))
        keep = self.builder.fcmp_unordered(">=", self.value, bound)
        return Vector(self.builder, self.builder.select(keep, self.value, zero))


class Code:
    """Writes instructions: addresses, vectors in memory, loops."""

    def __init__(self, builder):
        self.builder = builder

    def at(self, address, stride, number):
        """The address of element `number`, a constant, of what lies `stride` bytes apart."""
        return self.builder.add(address, self.builder.mul(stride, ir.Constant(INT, number)))

    def within(self, row, y, pixel, x):
        """Bytes from a tile's corner to its element in row `y` and column `x`, which are constants."""
        return self.at(self.builder.mul(row, ir.Constant(INT, y)), pixel, x)

    def bytes_of(self, floats):
        """The size of so many numbers."""
        return self.builder.mul(floats, ir.Constant(INT, FLOAT))

    def load(self, address):
        """The vector that lies there."""
        pointer = self.builder.inttoptr(address, ir.PointerType())
        return Vector(self.builder, self.builder.load(pointer, typ=VECTOR, align=FLOAT))

    def store(self, vector, address):
        """Put a vector there."""
        self.builder.store(vector.value, self.builder.inttoptr(address, ir.PointerType()), align=FLOAT)

    def everywhere(self, scalar):
        """A vector of which every element is `scalar`."""
        undefined = ir.Constant(VECTOR, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return Vector(self.builder, self.builder.shuffle_vector(first, undefined, zeros))

    def scalar(self, address):
        """A vector of which every element is the number that lies there."""
        return self.everywhere(self.builder.load(self.builder.inttoptr(address, ir.PointerType()), typ=_FLOAT, align=FLOAT))

    def counting(self, end, step=1):
        """A context in which a number goes from 0 to `end`."""
        return cgutils.for_range_slice(self.builder, ir.Constant(INT, 0), end, ir.Constant(INT, step), intp=INT)


def written(write, *, floats=0):
    """A function for compiled code that `write` writes; its arguments are integers, the last `floats` ones floats."""

    def function(context, *given):
        kinds = [types.int64] * (len(given) - floats) + [types.float32] * floats

        def generate(target, builder, kind, values):
            write(Code(builder), *values)
            return target.get_dummy_value()

        return types.void(*kinds), generate

    function.__signature__ = signature(write)  # numba matches arguments by the names that it finds
    return intrinsic(function)
