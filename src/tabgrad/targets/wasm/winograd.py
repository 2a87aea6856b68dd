"""Convolutions of 3x3 with fewer multiplications: Winograd's minimal filtering F(2x2, 3x3).

Two by two outputs of a convolution of stride 1 take 36 products for each channel. Of the sums of
4x4 inputs and of 3x3 weights in Lavin and Gray ("Fast Algorithms for Convolutional Neural
Networks", 2015, https://arxiv.org/abs/1509.09308) 16 products are enough, 2.25 times fewer:

    Y = A^t [(G g G^t) * (B^t d B)] A

A contraction that is such a convolution becomes four kernels: a map that stores the 16 sums of each
tile and input channel, one that stores those of the weights (derived once where they are constant),
one contraction with a batch of 16, and a map from its 16 results to four outputs and their
epilogue. A gradient of the inputs is such a convolution, too; that of the weights is the same read
backwards: 16 sums of each tile of the outputs' gradient, a contraction over the tiles, nine weights
from 16 results. Outputs of a dilated convolution that are as far apart as its weights are an image
of their own. Where there are many tiles, kernels take turns over blocks of them, so that what they
pass on stays in the second-level cache (a group by rows, see compiler/group.py).

Errors are about half of those of direct sums, since each sum has a ninth of the steps: at most
1.5e-6 of the largest result with 512 channels, for normal and uniform numbers with any offset. What
is infinite or NaN reaches the same outputs as in direct sums, but infinite ones may become NaN; and
sums overflow at worst where direct ones of numbers with nine times as large products would. Without
fused multiply-add (`deterministic=True`) nothing here is used: there the bits of an output do not
depend on how many images there are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tabgrad import dtypes
from tabgrad.compiler.border import Border
from tabgrad.compiler.collapse import collapse, index_levels
from tabgrad.compiler.lower import guard
from tabgrad.dtypes import float32
from tabgrad.ir.graph import Node
from tabgrad.ir.index import Index, Var, flatten, unflatten
from tabgrad.ir.kernel import (
    Buffer,
    Condition,
    Expr,
    Group,
    Kernel,
    Store,
    in_range,
    rebuilt,
    walk,
)
from tabgrad.targets.wasm import operands
from tabgrad.targets.wasm.contraction import SINGLE_BLOCK

SPAN, OUTPUTS, INPUTS = 3, 2, 4  # of a tile along each axis: weights, outputs, inputs
SUMS = INPUTS * INPUTS

# Each row says which elements are added up, with which sign. The first is never subtracted.
_Rows = tuple[tuple[tuple[int, int], ...], ...]
B_T: _Rows = (((0, 1), (2, -1)), ((1, 1), (2, 1)), ((2, 1), (1, -1)), ((1, 1), (3, -1)))
A_T: _Rows = (((0, 1), (1, 1), (2, 1)), ((1, 1), (2, -1), (3, -1)))
A: _Rows = (((0, 1),), ((0, 1), (1, 1)), ((0, 1), (1, -1)), ((1, 1),))  # the last but for a sign

FEWEST_CHANNELS = 8
FEWEST_PRODUCTS = 1 << 18
FEWEST_TILES = 32  # where the weights have to be transformed each time
LEAST_SAVED = 1.2  # times as many products as are left
BLOCK_BYTES = 1 << 20  # of the sums of a block of tiles: about a second-level cache
FEWEST_BLOCKS = 8  # which threads share
FEWEST_IN_BLOCK = 48  # tiles, or the weights would be fetched too often
MORE_TILES = 2  # times as many as make a block's sums as large as results of its own

Square = list[list[Expr]]
_Loops = tuple[Var, ...]
_Place = tuple[dict[Var, Index], Expr, list[Condition]]  # of loops, the folded value, if all hold

ACC = Expr("acc", float32)


def prepare(
    kernel: Kernel, temporaries: list[Buffer], fma: bool, kept: Callable[[Buffer], bool]
) -> list[Kernel] | None:
    """The kernels that do what a contraction does with fewer products, ready to be emitted; None
    where it is no such convolution or is faster as it is. To transform weights that are in buffers
    which are `kept` costs nothing each time."""
    found = _Convolution.of(kernel) if fma else None
    if found is None:
        return None
    loads = [x.buffer for x in walk([found.b]) if x.buffer is not None]
    steady = bool(loads) and all(map(kept, loads))
    if not found.saves(steady and not found.backwards):
        return None
    writer = _Backwards(found, temporaries) if found.backwards else _Forwards(found, temporaries)
    return writer.kernels(steady)


@dataclass
class _Axis:
    """The loops that a convolution runs through along one axis of its images."""

    outputs: Var
    weights: Var
    dilation: int

    @property
    def places(self) -> int:
        """Outputs in each of the images that a dilation makes."""
        return -(-self.outputs.size // self.dilation)

    @property
    def tiles(self) -> int:
        """Tiles that cover them."""
        return -(-self.places // OUTPUTS)


@dataclass
class _Convolution:
    """A contraction seen as a convolution of 3x3: A reads images, B weights, or `backwards`, for
    the gradient of the weights, the gradient of the outputs."""

    kernel: Kernel
    a: Expr
    b: Expr
    axes: tuple[_Axis, _Axis]
    images: tuple[Var, ...]
    channels: tuple[Var, ...]
    filters: tuple[Var, ...]
    backwards: bool

    @staticmethod
    def of(kernel: Kernel) -> _Convolution | None:
        """The convolution in a kernel, if it is one."""
        a, b = kernel.a, kernel.b
        if a is None or b is None or a.dtype is not float32 or b.dtype is not float32:
            return None
        space = [v for v in kernel.space if v.size != 1]
        inner = [v for v in kernel.inner if v.size != 1]
        roles = [kernel.roles[v] for v in space]
        if not roles or "g" in roles or roles[-1] != "n":
            return None
        rows = [v for v, role in zip(space, roles, strict=True) if role == "m"]
        levels = index_levels(Kernel("map", (), [], body=a))
        for backwards in (False, True):
            outputs, weights = (inner, rows) if backwards else (rows, inner)
            axes = [
                min(found, key=lambda axis: axis.dilation)
                for k in weights
                if k.size == SPAN and (found := list(_axes(levels, outputs, k)))
            ]
            loops = {v for axis in axes for v in (axis.outputs, axis.weights)}
            if len(axes) == 2 and len(loops) == 4:
                return _Convolution(
                    kernel, a, b, (axes[0], axes[1]),
                    images=tuple(v for v in outputs if v not in loops),
                    channels=tuple(v for v in weights if v not in loops),
                    filters=tuple(v for v, role in zip(space, roles, strict=True) if role == "n"),
                    backwards=backwards,
                )  # fmt: skip
        return None

    @property
    def phases(self) -> tuple[Var, Var]:
        """Loops over the images that a dilation makes."""
        y, x = self.axes
        return Var("ry", y.dilation), Var("rx", x.dilation)

    @property
    def images_in_all(self) -> int:
        return _size((*self.images, *self.phases))

    def saves(self, steady: bool) -> bool:
        """Whether it takes less time in this way."""
        y, x = self.axes
        channels, filters = _size(self.channels), _size(self.filters)
        tiles = y.tiles * x.tiles * self.images_in_all
        pixels = y.outputs.size * x.outputs.size * _size(self.images)
        products = pixels * SPAN * SPAN
        if min(channels, filters) < FEWEST_CHANNELS or products < LEAST_SAVED * tiles * SUMS:
            return False
        if products * channels * filters < FEWEST_PRODUCTS:
            return False
        return steady or tiles >= FEWEST_TILES


def _axes(levels: Sequence[Index], outputs: Sequence[Var], weights: Var) -> Iterator[_Axis]:
    """What may be an axis: elements of A depend on nothing but the sum of an output's number and
    of a weight's, times the dilation."""
    for output in outputs:
        found: set[int | None] = set()
        for level in levels:
            by, step = level.coefficient(output), level.coefficient(weights)
            if by and step and step % by == 0 and step // by > 0:
                found.add(step // by)
            elif by != 0 or step != 0:
                found.add(None)
        if len(found) == 1 and (dilation := found.pop()) is not None:
            yield _Axis(output, weights, dilation)


def _size(loops: Sequence[Var]) -> int:
    return math.prod(v.size for v in loops)


def _flat(loops: Sequence[Var]) -> Index:
    """Loops as one number."""
    return flatten(tuple(map(Index.of, loops)), tuple(v.size for v in loops))


def _reads_along(expr: Expr, loops: set[Var]) -> bool:
    return any(x.op == "load" and x.variables() & loops for x in walk([expr]))


# Sums


def _added(terms: Sequence[tuple[Expr, int]]) -> Expr:
    (total, _), *others = terms
    for x, sign in others:
        total = Expr("add" if sign > 0 else "sub", float32, (total, x))
    return total


def _on_both_sides(rows: _Rows, of: Square) -> Square:
    """R x R^t."""
    half = [
        [_added([(of[i][j], sign) for i, sign in row]) for j in range(len(of[0]))] for row in rows
    ]
    return [[_added([(line[j], sign) for j, sign in row]) for row in rows] for line in half]


def _g(a: Expr, b: Expr, c: Expr) -> list[Expr]:
    """G of three weights: a, (a + b + c) / 2, (a - b + c) / 2, c."""
    half = Expr("const", float32, value=0.5)
    outer = Expr("add", float32, (a, c))
    both = [Expr(op, float32, (outer, b)) for op in ("add", "sub")]
    return [a, *(Expr("mul", float32, (x, half)) for x in both), c]


def _g_t(a: Expr, b: Expr, c: Expr, d: Expr) -> list[Expr]:
    """G^t of four sums, d having the other sign: a + (b + c) / 2, (b - c) / 2, (b + c) / 2 - d."""
    half = Expr("const", float32, value=0.5)
    plus, minus = (Expr("mul", float32, (Expr(op, float32, (b, c)), half)) for op in ("add", "sub"))
    return [Expr("add", float32, (a, plus)), minus, Expr("sub", float32, (plus, d))]


def _through(one: Callable[..., list[Expr]], of: Square) -> Square:
    """A transformation along the columns, then along the rows."""
    columns = [one(*column) for column in zip(*of, strict=True)]
    return [one(*line) for line in zip(*columns, strict=True)]


# Kernels


class _Array:
    """A temporary [blocks, 16, rows, columns]. The 16 parts of a block lie so that their lines do
    not meet in the same place of a cache."""

    def __init__(self, temporaries: list[Buffer], blocks: int, rows: int, columns: int) -> None:
        self.columns = columns
        self.part = -(-rows * columns // 64) * 64
        if self.part % 128 == 0:
            self.part += 64
        self.buffer = Buffer(f"t{len(temporaries)}", "temp", blocks * SUMS * self.part, float32)
        temporaries.append(self.buffer)

    @property
    def block(self) -> int:
        """Elements of a block."""
        return SUMS * self.part

    def at(self, block: Index, number: Index, row: Index, column: Index) -> Index:
        """Where an element is."""
        return block * self.block + number * self.part + (row * self.columns).joined() + column

    def load(self, block: Index, number: Index, row: Index, column: Index) -> Expr:
        """An element."""
        index = self.at(block, number, row, column)
        return Expr("load", float32, buffer=self.buffer, index=index)

    def loads(self, block: Index, row: Index, column: Index) -> Square:
        """The 16 sums of one row and column."""
        return [
            [self.load(block, Index(INPUTS * p + q), row, column) for q in range(INPUTS)]
            for p in range(INPUTS)
        ]

    def stores(self, of: Square, block: Index, row: Index, column: Index) -> list[Store]:
        """Stores of 16 sums to one row and column."""
        flat = itertools.chain.from_iterable(of)
        return [
            Store(self.buffer, self.at(block, Index(number), row, column), expr)
            for number, expr in enumerate(flat)
        ]


class _Writer:
    """What both directions have: blocks of tiles, and the sums of the images' tiles.

    A block is some rows of tiles of one image, or some whole images."""

    def __init__(self, found: _Convolution, temporaries: list[Buffer]) -> None:
        self.found, self.temporaries = found, temporaries
        self.name = found.kernel.name
        self.y, self.x = found.axes
        self.channels, self.filters = found.channels, found.filters
        self.c, self.n = _flat(self.channels), _flat(self.filters)
        images = found.images_in_all
        high, together = self._block(images)
        parts = -(-self.y.tiles // high)  # of an image
        self.blocks = parts * images // together
        self.loops = (
            Var("b", self.blocks),
            Var("i", together),
            Var("ty", high),
            Var("tx", self.x.tiles),
        )
        block, image, ty, tx = map(Index.of, self.loops)
        self.block = block
        self.tile = flatten((image, ty, tx), tuple(v.size for v in self.loops[1:]))
        self.tiles = _size(self.loops[1:])
        which, part = block.split(parts)
        self.rows_in_all = parts * high * OUTPUTS
        self.first = (part * high + ty) * OUTPUTS, tx * OUTPUTS
        self.number = Var("s", SUMS)
        self.phases = found.phases
        self.images = (*found.images, *self.phases)
        at = unflatten(which * together + image, tuple(v.size for v in self.images))
        self.image = dict(zip(self.images, at, strict=True))
        self.group = Group("rows", self.blocks) if self.blocks > 1 else None

    def _block(self, images: int) -> tuple[int, int]:
        """Rows of tiles, and images, of a block; all of them where blocks gain nothing."""
        tall, wide = self.y.tiles, self.x.tiles
        channels, filters = _size(self.channels), _size(self.filters)
        least = self._fewest_in_block(channels, filters)
        most = max(BLOCK_BYTES // (4 * SUMS * (channels + filters)), least)
        most = min(most, SINGLE_BLOCK, tall * wide * images // FEWEST_BLOCKS)
        if most < least:
            return tall, images
        if most < tall * wide:
            high = max(most // wide, 1)
            return -(-tall // -(-tall // high)), 1
        return tall, max(n for n in range(1, most // (tall * wide) + 1) if images % n == 0)

    def _fewest_in_block(self, channels: int, filters: int) -> int:
        """Tiles without which a block is too small."""
        return FEWEST_IN_BLOCK

    def array(self, blocks: int, rows: int, columns: int) -> _Array:
        """A new temporary."""
        return _Array(self.temporaries, blocks, rows, columns)

    def map(self, name: str, loops: Sequence[Var], stores: list[Store], flops: int = 0) -> Kernel:
        """A map over some loops."""
        kernel = Kernel("map", tuple(loops), stores, name=f"{self.name}_{name}")
        kernel.flops = flops * _size(loops)
        return kernel

    def place(self, p: int, q: int) -> dict[Var, Index]:
        """The loops over outputs, at a place of a tile, and over images."""
        phases = [self.image[v] for v in self.phases]
        values = {
            axis.outputs: (first + step) * axis.dilation + phase
            for axis, first, step, phase in zip(
                self.found.axes, self.first, (p, q), phases, strict=True
            )
        }
        return values | {v: self.image[v] for v in self.found.images}

    def inside(self, values: dict[Var, Index]) -> list[Condition] | None:
        """What has to hold where the last tiles have outputs that are none; None where all are."""
        found: list[Condition] = []
        for axis in self.found.axes:
            conditions = in_range(values[axis.outputs], axis.outputs.size)
            if conditions is None:
                return None
            found += conditions
        return found

    def image_sums(self) -> tuple[_Array, list[Kernel]]:
        """The 16 sums of each tile of the images, and the kernels that store them: a copy with a
        border, if they have one, comes first."""
        kernels = []
        a, values = self._images_without_end()
        most = SUMS * self.blocks * self.tiles * _size(self.channels)
        border = Border.of(a, most, f"t{len(self.temporaries)}")
        if border is not None:
            a = border.load
            kernels.append(border.put_before(self.found.kernel, self.temporaries))
        patch = [[a.replace(values(p, q)) for q in range(INPUTS)] for p in range(INPUTS)]
        sums = self.array(self.blocks, self.tiles, _size(self.channels))
        stores = sums.stores(_on_both_sides(B_T, patch), self.block, self.tile, self.c)
        kernels.append(self.map("images", (*self.loops, *self.channels), stores, flops=32))
        return sums, kernels

    def _images_without_end(self) -> tuple[Expr, Callable[[int, int], dict[Var, Index]]]:
        """A with loops over outputs that reach to the end of the last tiles, zero where it was not
        defined before; and the values of all loops but channels at an input of a tile."""
        sizes = self.rows_in_all, self.x.tiles * OUTPUTS
        longer = [Var(name, size) for name, size in zip(("py", "px"), sizes, strict=True)]
        values: dict[Var, Index] = {}
        extra: list[Condition] = []
        exact = True
        for axis, new, phase in zip(self.found.axes, longer, self.phases, strict=True):
            at = Index.of(new) * axis.dilation + Index.of(phase)
            values[axis.outputs] = at
            reach = axis.outputs.size + (SPAN - 1) * axis.dilation
            extra.append(Condition(at + Index.of(axis.weights) * axis.dilation, None, reach))
            exact &= new.size * axis.dilation == axis.outputs.size
        a = self.found.a.replace(values)
        zero = Expr("const", float32, value=0.0)
        if a.op == "guard" and a.args[1].op == "const" and a.args[1].value == 0:
            a = a.on(a.args, None, (*a.conditions, *extra))
        elif not exact:
            a = guard(a, zero, extra)

        def at_input(p: int, q: int) -> dict[Var, Index]:
            places = {
                new: first + step
                for new, first, step in zip(longer, self.first, (p, q), strict=True)
            }
            return {**self.image, **places, self.y.weights: Index(), self.x.weights: Index()}

        return a, at_input

    def results(
        self, loops: _Loops, places: Sequence[_Place], moving: set[Var], flops: int
    ) -> Kernel:
        """The map that does, for several values at places of their own, what the contraction did
        for one. What it read along `moving` loops may be outside where conditions do not hold."""
        kernel = self.found.kernel
        stores: list[Store] = []
        nodes: list[Node] = []
        for values, acc, conditions in places:
            exprs = rebuilt(
                [store.expr.replace(values) for store in kernel.stores],
                lambda x, _, acc=acc: acc if x.op == "acc" else None,  # type: ignore[misc]
            )
            for number, (store, expr) in enumerate(zip(kernel.stores, exprs, strict=True)):
                if conditions and _reads_along(store.expr, moving):
                    zero = Expr("const", expr.dtype, value=dtypes.wrap(0, expr.dtype))
                    expr = guard(expr, zero, conditions)
                allowed = (*(c.replace(values) for c in store.conditions), *conditions)
                index = store.index.replace(values)
                stores.append(Store(store.buffer, index, expr, store.combine, allowed))
                nodes += kernel.nodes[number : number + 1]
        made = self.map("results", loops, stores, flops)
        made.nodes = tuple(nodes)
        return made

    def together(self, kernels: Sequence[Kernel], *passed: _Array) -> None:
        """Make a group of kernels that pass arrays on block by block, if there are blocks."""
        if self.group is None:
            return
        self.group.strides = {id(array.buffer): array.block for array in passed}
        for kernel in kernels:
            kernel.group, kernel.row_loops = self.group, 1

    def product(self, a: Expr, b: Expr, rows: _Loops, steps: _Loops, to: Store) -> Kernel:
        """A contraction for each block and each of the 16 sums."""
        loops = (self.loops[0], self.number, *rows, *self.filters)
        roles = {self.loops[0]: "g", self.number: "g"} | dict.fromkeys(rows, "m")
        roles |= dict.fromkeys(self.filters, "n") | dict.fromkeys(steps, "k")
        name = f"{self.name}_product"
        kernel = Kernel("contract", loops, [to], steps, "sum", a=a, b=b, roles=roles, name=name)
        kernel.flops = 2 * kernel.points
        return collapse(kernel)


class _Forwards(_Writer):
    """A convolution, or its gradient by the images."""

    def kernels(self, steady: bool) -> list[Kernel]:
        """All of them, ready to be emitted."""
        images, (*before, of_images) = self.image_sums()
        weights, of_weights = self._weight_sums()
        tile, number = Var("t", self.tiles), Index.of(self.number)
        results = self.array(self.blocks, self.tiles, _size(self.filters))
        place = (self.block, number, Index.of(tile))
        *packs, product = operands.prepare(
            self.product(
                images.load(*place, self.c),
                weights.load(Index(), number, self.c, self.n),
                (tile,),
                self.channels,
                Store(results.buffer, results.at(*place, self.n), ACC),
            ),
            self.temporaries, True, lambda _: steady,
        )  # fmt: skip
        of_results = self._outputs(results)
        self.together([of_images, product, of_results], images, results)
        return [of_weights, *packs, *before, *map(collapse, (of_images, product, of_results))]

    def _weight_sums(self) -> tuple[_Array, Kernel]:
        b, (y, x) = self.found.b, (axis.weights for axis in self.found.axes)
        weights = [
            [b.replace({y: Index(p), x: Index(q)}) for q in range(SPAN)] for p in range(SPAN)
        ]
        sums = self.array(1, _size(self.channels), _size(self.filters))
        stores = sums.stores(_through(_g, weights), Index(), self.c, self.n)
        return sums, collapse(self.map("weights", (*self.channels, *self.filters), stores, 28))

    def _outputs(self, results: _Array) -> Kernel:
        """The map that stores four outputs of each tile."""
        sums = _on_both_sides(A_T, results.loads(self.block, self.tile, self.n))
        moving = {axis.outputs for axis in self.found.axes}
        places = []
        for p, q in itertools.product(range(OUTPUTS), repeat=2):
            values = self.place(p, q)
            if (inside := self.inside(values)) is not None:
                places.append((values, sums[p][q], inside))
        return self.results((*self.loops, *self.filters), places, moving, flops=24)


class _Backwards(_Writer):
    """The gradient of a convolution by its weights: a contraction over the tiles."""

    def _fewest_in_block(self, channels: int, filters: int) -> int:
        """Each block has results of its own, which are added up."""
        enough = MORE_TILES * channels * filters // (channels + filters)
        return max(super()._fewest_in_block(channels, filters), enough)

    def kernels(self, steady: bool) -> list[Kernel]:
        """All of them, ready to be emitted."""
        images, (*before, of_images) = self.image_sums()
        slopes, of_slopes = self._slope_sums()
        shape = _size(self.channels), _size(self.filters)
        tile, number = Var("t", self.tiles), Index.of(self.number)
        results = self.array(self.blocks, *shape)
        place = (self.block, number, Index.of(tile))
        *packs, product = operands.prepare(
            self.product(
                images.load(*place, self.c),
                slopes.load(*place, self.n),
                self.channels,
                (tile,),
                Store(results.buffer, results.at(self.block, number, self.c, self.n), ACC),
            ),
            self.temporaries, True, lambda _: False,
        )  # fmt: skip
        made = [collapse(of_images), collapse(of_slopes), *packs, product]
        if self.blocks > 1:
            self.together(made, images, slopes)
            total = self.array(1, *shape)
            each, block = Var("i", total.block), self.loops[0]
            index = self.block * total.block + Index.of(each)
            store = Store(total.buffer, Index.of(each), ACC)
            added = Kernel("reduce", (each,), [store], (block,), "sum", name=f"{self.name}_sum")
            added.body = Expr("load", float32, buffer=results.buffer, index=index)
            added.flops = added.points
            made.append(collapse(added))
            results = total
        return [*before, *made, collapse(self._weights(results))]

    def _slope_sums(self) -> tuple[_Array, Kernel]:
        zero = Expr("const", float32, value=0.0)

        def slope(p: int, q: int) -> Expr:
            values = self.place(p, q)
            expr, inside = self.found.b.replace(values), self.inside(values)
            if inside is None:
                return zero
            return guard(expr, zero, inside)

        patch = [[slope(p, q) for q in range(OUTPUTS)] for p in range(OUTPUTS)]
        sums = self.array(self.blocks, self.tiles, _size(self.filters))
        stores = sums.stores(_on_both_sides(A, patch), self.block, self.tile, self.n)
        return sums, self.map("slopes", (*self.loops, *self.filters), stores, flops=12)

    def _weights(self, results: _Array) -> Kernel:
        """The map that stores nine weights' gradients for each channel and filter."""
        sums = _through(_g_t, results.loads(Index(), self.c, self.n))
        y, x = (axis.weights for axis in self.found.axes)
        places: list[_Place] = [
            ({y: Index(p), x: Index(q)}, sums[p][q], [])
            for p, q in itertools.product(range(SPAN), repeat=2)
        ]
        return self.results((*self.channels, *self.filters), places, set(), flops=35)
