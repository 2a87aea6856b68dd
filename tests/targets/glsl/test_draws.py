"""What is drawn: outputs together, parts in place, and what has to take another texture's place."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad.compiler import driver
from tabgrad.compiler.plan import Plan
from tabgrad.dtypes import float32
from tabgrad.errors import NotSupportedError
from tabgrad.ir.entry import EntryGraph
from tabgrad.ir.index import Index, Var
from tabgrad.ir.kernel import Buffer, Expr, Kernel, Store
from tabgrad.targets.glsl.dialect import Glsl
from tabgrad.targets.glsl.drawing import Draw, Setting, draws_of
from tabgrad.targets.glsl.shader import MAX_READS, MAX_WRITES, room
from tabgrad.targets.glsl.target import GlslTarget
from tests.compiler.programs import traced

Shapes = Sequence[tuple[int, ...]]


def launches(function: Callable[..., Any], shapes: Shapes, dtype: str = "float32") -> list[Any]:
    """The launches of a function of arrays, each with its kernel's code."""
    graph = traced(function, *[(shape, dtype) for shape in shapes])
    document = json.loads(driver.compile([graph], GlslTarget()).binary)

    def filled(some: Sequence[Any]) -> list[Any]:
        found = []
        for launch in some:
            if "kernel" in launch:
                kernel = document["kernels"][launch["kernel"]]
                assert kernel["reads"] == len(launch["reads"]) <= MAX_READS
                assert kernel["writes"] == len(launch["writes"]) <= MAX_WRITES
                found.append({**launch, "code": kernel["code"]})
            else:
                inner = {k: filled(v) for k, v in launch.items() if k in ("body", "test")}
                found.append({**launch, **inner})
        return found

    return filled(document["entries"][0]["launches"])


def test_neighbours_are_computed_four_at_once() -> None:
    (draw,) = launches(lambda x, y: x * y + 1, [(5, 8), (8,)])
    assert "vec4" in draw["code"]
    assert "for (" not in draw["code"]
    assert (draw["begin"], draw["count"], draw["swaps"]) == ([0], 12, [0])  # whole rows of texels


def test_odd_rows_are_computed_one_by_one() -> None:
    (draw,) = launches(lambda x, y: x * y, [(5, 7), (7,)])
    assert "for (int" in draw["code"]
    assert draw["count"] == 12


def test_what_is_picked_from_has_a_name() -> None:
    """Of `?:` with expressions in a loop Chromium makes a path for each way through: a sum of
    twelve sines took it minutes and gigabytes."""
    (draw,) = launches(lambda x: tg.sin(x) + tg.sin(x * 2) + tg.relu(x - 1), [(63,)])
    assert "pick_1(" in draw["code"]
    picking = [line for line in draw["code"].splitlines() if "?" in line]
    assert picking and all("return c ? x : y;" in line for line in picking)


def test_results_of_one_kernel_are_drawn_together() -> None:
    (draw,) = launches(lambda x: (x + 1, x * 2, x > 0), [(5, 8)])
    assert len(draw["writes"]) == 3
    assert draw["code"].count("out uvec4") == 3


def test_more_results_than_outputs_take_two_draws() -> None:
    draws = launches(lambda x: tuple(x + i for i in range(6)), [(5, 8)])
    assert [len(draw["writes"]) for draw in draws] == [4, 2]


def draw_of(index: Callable[[Index], Index], points: int, size: int, reads: bool = False) -> Draw:
    """The draw of a map that puts its points into a buffer where an index says, perhaps reading
    that buffer."""
    home, x = Buffer("y", "output", size, float32), Buffer("x", "input", points, float32)
    loop = Var("i", points)
    at = Index.of(loop)
    value = Expr("load", float32, buffer=home if reads else x, index=at)
    kernel = Kernel("map", (loop,), [Store(home, index(at), value)])
    setting = Setting(Plan(EntryGraph("f", [], [], []), [kernel], []), (), {}, 2)
    (draw,) = draws_of(kernel, setting)
    return draw


def test_parts_of_whole_texels_are_drawn_in_place() -> None:
    draw = draw_of(lambda i: i + 4, 8, 20)
    assert (draw.begin, draw.count, draw.swaps) == ((1,), 2, (0,))
    # The last texel has nothing behind the last element.
    draw = draw_of(lambda i: i + 8, 3, 11)
    assert (draw.begin, draw.count, draw.swaps) == ((2,), 1, (0,))


def test_parts_of_texels_take_the_place_of_the_whole() -> None:
    for draw in (
        draw_of(lambda i: i + 3, 8, 20),
        draw_of(lambda i: i + 4, 7, 20),
        draw_of(lambda i: i * 2, 10, 20),
    ):
        assert (draw.begin, draw.count, draw.swaps) == ((0,), 8, (1,))
        assert any(root.name == "y" for root in draw.reads)


def test_what_is_read_is_not_drawn_to() -> None:
    draw = draw_of(lambda i: i * -1 + 19, 20, 20, reads=True)
    assert (draw.begin, draw.count, draw.swaps) == ((0,), 8, (1,))
    assert draw_of(lambda i: i + 4, 8, 20, reads=True).swaps == (1,)


def test_turns_of_a_loop_write_their_rows_in_place() -> None:
    def running(x: Any) -> Any:
        return tg.ops.scan(lambda c, row: (c + row, c * row), tg.ops.zeros((8,)), x)[1]

    (loop,) = [launch for launch in launches(running, [(5, 8)]) if "loop" in launch]
    (row,) = [draw for draw in loop["body"] if 1 in draw["writes"]]
    at = row["writes"].index(1)
    assert row["begin"] == [0, 2]
    assert row["count"] == 2
    assert row["swaps"][at] == 0


def test_a_contraction_is_drawn_in_tiles_of_rows() -> None:
    tile, put = launches(lambda a, b: a @ b, [(128, 64), (64, 128)])
    assert len(tile["writes"]) == 4
    assert tile["count"] == 128 * 128 // 16
    assert put["count"] == 128 * 128 // 4


def test_eight_rows_are_drawn_where_that_many_outputs_are() -> None:
    graph = traced(lambda a, b: a @ b, ((256, 64), "float32"), ((64, 130), "float32"))
    program = driver.compile([graph], GlslTarget(["draw-buffers-8", "other"]))
    assert program.features == ("draw-buffers-8",)
    tile, put = json.loads(program.binary)["entries"][0]["launches"]
    assert len(tile["writes"]) == 8
    assert tile["count"] == 1088  # 32 rows of 33 texels, in whole rows of 64
    assert put["count"] == 256 * 130 // 4


def test_few_results_of_a_long_fold_are_shared_out() -> None:
    first, *rest = launches(lambda x: tg.ops.sum(x), [(1 << 20,)])
    assert first["count"] >= 256
    assert rest[-1]["count"] == 1


@pytest.mark.parametrize("dtype", ["float64", "int64", "uint64"])
def test_64_bits_are_refused(dtype: str) -> None:
    with pytest.raises(NotSupportedError, match=rf"WebGL; received {dtype}\. Cast to .*32.*wasm"):
        launches(lambda x: x + x, [(4,)], dtype)


def test_literals() -> None:
    language = Glsl()
    for number in (1.0, -2.5, 1e-5, 3.4028234663852886e38, 0.1):
        text = language.literal(number, "f").strip("()")
        assert np.float32(float(text)) == np.float32(number)
        assert "." in text or "e" in text
    assert language.literal(-0.0, "f") == language.special(0x80000000)
    assert language.literal(-(1 << 31), "i") == "int(2147483648u)"
    assert language.literal(-1, "i") == "(-1)"
    assert language.literal(-1, "u") == "4294967295u"


def test_room_is_that_of_the_player() -> None:
    """Sizes that are rounded already stay; the tests of webgl.js hold it to the same numbers."""
    for size in (0, 1, 64, 65, 8192, 8193, 100_000, 10_000_000, 16_777_217):
        assert room(size) >= size
        assert room(room(size)) == room(size)
        assert room(size) <= max(size * 2, 64)
