"""How a fold is cut into tiles whose steps are written out: loops listed in full, pieces of a row.

Every point of the `listed` loops gets code of its own, for several neighbouring turns of the loop
`along` at a time (a tile). Where that loop meets a border it falls into pieces: the tiles of one
have the same points inside, so that their code needs no checks. A point outside adds nothing: not
even the product of a zero and an infinity.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tabgrad.compiler.collapse import rewrite
from tabgrad.ir.index import Div, Dyn, Index, Mod, Var, unflatten
from tabgrad.ir.kernel import Condition, Expr, Kernel, identity, walk
from tabgrad.targets.wasm.builder import I32, Function
from tabgrad.targets.wasm.elements import width_of
from tabgrad.targets.wasm.unrolled import Interned, Points, Step, known_truth, value_at

MAX_TILE = 8  # turns
MAX_PIECES = 6  # of a row, for each of which there is code
MIN_TILE = 4  # turns, below which borders are rather asked for
MAX_STEPS = 640  # that are written out in all pieces
MOST_STEPS = 1300  # where that takes many even with small tiles


def reads_indices(kernel: Kernel) -> bool:
    """Whether an index is read at run time."""
    return any(
        isinstance(atom, Dyn)
        for x in walk(kernel.expressions())
        for index in (*([x.index] if x.index else []), *(c.index for c in x.conditions))
        for atom in index.terms
    )


def narrow(kernel: Kernel) -> bool:
    """Whether a contraction has groups of so few neighbouring results each that several make a
    vector, as a depthwise convolution has with few filters for each channel."""
    if len(kernel.space) < 2 or kernel.a is None or not kernel.a.dtype.is_float:
        return False
    outer, last = kernel.space[-2:]
    group, results = kernel.roles[outer], kernel.roles[last]
    few = last.size in (2, 4) and 16 // max(kernel.a.dtype.itemsize, 4) % last.size == 0
    return few and (group, results) == ("g", "n")


def merges_lanes(kernel: Kernel) -> bool:
    """Whether results are neighbours across groups and what is in each, which is shorter than a
    vector, as with a few filters for each group of channels."""
    if len(kernel.space) < 3:
        return False
    outer, last = kernel.space[-2:]
    if (kernel.roles.get(outer), kernel.roles.get(last)) != ("g", "n") or not last.size:
        return False
    return width_of(kernel) % last.size == 0 and all(
        (s.index.coefficient(last), s.index.coefficient(outer)) == (1, last.size)
        for s in kernel.stores
    )


def with_merged_lanes(kernel: Kernel) -> Kernel:
    """The kernel with its last two loops as one, where these make its lanes."""
    if not merges_lanes(kernel):
        return kernel
    outer, last = kernel.space[-2:]
    one = Var(outer.name, outer.size * last.size)
    merged = replace(kernel, space=(*kernel.space[:-2], one), stores=list(kernel.stores))
    split = unflatten(Index.of(one), (outer.size, last.size))
    rewrite(merged, dict(zip((outer, last), split, strict=True)))
    known = Interned()
    merged.stores = [
        replace(s, index=s.index.joined(), expr=known.joined(s.expr)) for s in merged.stores
    ]
    if merged.body is not None:
        merged.body = known.joined(merged.body)
    return merged


@dataclass(frozen=True)
class Piece:
    """Tiles that are computed by the same code: `count` of them from tile number `first`."""

    first: int
    count: int
    turns: int  # of one of these tiles
    tile: int  # of a whole tile

    @property
    def number(self) -> Var:
        """The loop over the tiles."""
        return Var("tile", self.count)

    def place(self, turn: int) -> Index:
        """Where one turn of a tile is."""
        return Index.of(self.number) * self.tile + (self.first * self.tile + turn)


class Tiling:
    """A fold with its lanes along the last loop, tiles along another, and what is listed."""

    def __init__(self, kernel: Kernel, fma: bool) -> None:
        self.kernel, self.fma = kernel, fma
        self.lanes = kernel.space[-1]
        self.width = width_of(kernel)
        self.products = kernel.fold == "dot"  # steps are made of two factors
        assert kernel.body is not None
        self.roots = [kernel.body, *([kernel.body_index] if kernel.body_index else [])]
        self.loads = [x for x in walk(self.roots) if x.op == "load"]
        self.guards = [x for x in walk(self.roots) if x.op == "guard"]
        self.known = Interned()

    def cut(self, listed: Sequence[Var], along: Var, most: int) -> None:
        """Choose tiles of at most so many turns."""
        self.along = along
        self.points = list(itertools.product(*(range(v.size) for v in listed)))
        self.bodies = []
        for point in self.points:
            values = {v: Index(i) for v, i in zip(listed, point, strict=True)}
            self.bodies.append([self.known.decided(root.replace(values)) for root in self.roots])
        self._sizes = self._tile_sizes(most)
        self._holds = self._inside()

    # Whether it can be done

    def fits(self) -> bool:
        """Whether lanes can be neighbouring outputs, and what is outside adds nothing."""
        e = Points(Function("probe", [I32]), {}, self.fma, self.width, self.lanes)
        return (
            self.roots[0].dtype.kind != "b"
            and all(s.index.coefficient(self.lanes) == 1 for s in self.kernel.stores)
            and all(x.buffer and x.index and e.movable(x.buffer, x.index) for x in self.loads)
            and all(map(self._leaves_out, self.bodies))
        )

    def _leaves_out(self, values: Sequence[Expr]) -> bool:
        """Whether a point adds nothing where one of its guards does not hold, for all lanes."""
        guards = [x for x in walk(values) if x.op == "guard"]
        asked = dict.fromkeys(x.conditions for x in guards)
        if any(self.lanes in c.index.variables() for conditions in asked for c in conditions):
            return False
        return all(self._adds_nothing(values, conditions) for conditions in asked)

    def _adds_nothing(self, values: Sequence[Expr], conditions: tuple[Condition, ...]) -> bool:
        """Whether values add nothing if these conditions of guards do not hold, but all others."""
        new: dict[int, Expr] = {}
        for x in walk(values):
            if x.op == "guard":
                new[id(x)] = new[id(x.args[1 if x.conditions == conditions else 0])]
            else:
                new[id(x)] = self.known(x, tuple([new[id(arg)] for arg in x.args]))
        return self.is_nothing([new[id(x)] for x in values])

    def is_nothing(self, values: Sequence[Expr]) -> bool:
        """Whether folding these changes nothing."""
        fold = self.kernel.fold
        value = values[0]
        if fold in ("argmax", "argmin"):
            last = values[1].op == "const" and values[1].value == 2**31 - 1
            return last and _is(value, identity(fold.removeprefix("arg"), value.dtype))
        if fold in ("sum", "dot"):
            zero = identity("sum", value.dtype)
            return any(_is(x, zero) for x in (value.args if value.op == "mul" else (value,)))
        return _is(value, identity(fold, value.dtype))

    # Tiles

    def _inside(self) -> list[tuple[bool, ...]] | None:
        """For each turn, which conditions hold; None where other loops have a say in that."""
        checks = list({
            c
            for bodies in self.bodies
            for x in walk(bodies)
            for c in x.conditions
            if self.along in c.index.variables()
        })  # fmt: skip
        if any(c.index.variables() != {self.along} for c in checks):
            return None
        places = range(self.along.size)
        return [tuple([_holds(c, {self.along: p}) for c in checks]) for p in places]

    def uniform(self, least: int, steps: int, apart: bool = False) -> list[Piece]:
        """Pieces of tiles of at least so many turns that have the same points inside, which take no
        more code than so many steps; `apart` keeps the first and the last tile alone."""
        size = self.along.size
        for tile in self._sizes if self._holds is not None else ():
            if tile < min(least, size):
                continue
            pieces: list[Piece] = []
            before = None
            tiles = -(-size // tile)
            for number in range(tiles):
                assert self._holds is not None
                here = self._holds[number * tile : (number + 1) * tile]
                if here == before and not (apart and number in (1, tiles - 1)):
                    last = pieces[-1]
                    pieces[-1] = replace(last, count=last.count + 1)
                else:
                    pieces.append(Piece(number, 1, len(here), tile))
                before = here
            needed = sum(piece.turns for piece in pieces) * len(self.points) * self._length()
            if len(pieces) <= MAX_PIECES and needed <= steps:
                return pieces
        return []

    def with_asked_borders(self, steps: int) -> list[Piece]:
        """One piece of tiles where everything is inside, and single turns on both sides of it whose
        points are asked for; none where the inside is small."""
        for tile in self._sizes if self._holds is not None else ():
            assert self._holds is not None
            inside = [n for n in range(self.along.size // tile)
                      if all(map(all, self._holds[n * tile : (n + 1) * tile]))]  # fmt: skip
            if not inside or (tile + 2) * len(self.points) * self._length() > steps:
                continue
            first, last = inside[0], inside[-1] + 1
            if len(inside) != last - first:
                continue
            pieces = [Piece(first, last - first, tile, tile)]
            if first:
                pieces.insert(0, Piece(0, first * tile, 1, 1))
            if last * tile < self.along.size:
                pieces.append(Piece(last * tile, self.along.size - last * tile, 1, 1))
            return pieces
        return []

    def _length(self) -> int:
        """How much code a step takes, 1 where it loads whole vectors."""
        steps = [x.index.coefficient(self.lanes) for x in self.loads if x.index is not None]
        return 1 + max([(step or 1) - 1 for step in steps if (step or 1) > 1], default=0)

    def _tile_sizes(self, most: int) -> list[int]:
        """How many turns a tile may have, best first: few tiles, and of these even ones."""
        size = self.along.size
        indices = [x.index for x in self.loads if x.index]
        indices += [c.index for x in self.guards for c in x.conditions]
        period = 1
        for index in indices:
            for atom in index.terms:
                if isinstance(atom, (Div, Mod)) and self.along in atom.of.variables():
                    period = math.lcm(period, atom.by)
        for x in self.guards:
            for c in x.conditions:
                if self.along in c.index.variables():
                    period = math.lcm(period, c.modulo)
        fitting = [n for n in range(1, min(most, MAX_TILE, size) + 1) if n % period == 0]
        return sorted(fitting, key=lambda n: (-(-size // n), n))

    def steps(self, piece: Piece) -> Iterator[tuple[tuple[Condition, ...], int, int, Step]]:
        """For each point and turn of a tile: what is not decided yet, the numbers of point and
        turn, and the step, into number 0."""
        for number, bodies in enumerate(self.bodies):
            moving = next((x.index for x in walk(bodies) if x.op == "load" and x.index
                           and self.along in x.index.variables()), Index())  # fmt: skip
            for turn in range(piece.turns):
                at = piece.place(turn)
                open_: list[Condition] = []
                values = [self.known.settled(x.replace({self.along: at}), open_) for x in bodies]
                if self.is_nothing(values):
                    continue
                position = value_at(moving, {self.along: at.const})
                parts = values[0].args if self.products else (values[0],)
                place = values[1].index if len(values) > 1 else None
                yield tuple(open_), number, turn, Step(0, 0, position, parts, place)


def _is(x: Expr, constant: Expr) -> bool:
    while x.op == "cast":
        (x,) = x.args
    return x.op == "const" and bool(x.value == constant.value)


def _holds(condition: Condition, at: dict[Var, int]) -> bool:
    here = {v: Index(p) for v, p in at.items()}
    return bool(known_truth(condition.replace(here)))
