"""ARCHITECTURE.md tells the truth: its listings are what the compiler makes, its files exist."""

import re
from pathlib import Path

import tabgrad as tg
from tabgrad import jit
from tabgrad.compiler.driver import simplified
from tabgrad.compiler.plan import plan
from tabgrad.ir.text import format_graph
from tabgrad.targets.wasm.target import WasmTarget

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def block(name):
    return re.search(rf"<!-- {name} -->\n```\n(.*?)```", TEXT, re.S).group(1).strip()


def traced():
    def f(x, w):
        return (x @ w).relu().sum()

    def g(x, w):
        return tg.value_and_grad(f, argnums=1)(x, w)

    specs = [((64, 32), "float32", False), ((32, 48), "float32", False)]
    return jit.trace(g, specs, names=["x", "w"]).graph


def test_the_simplified_graph_is_the_one_shown():
    assert format_graph(simplified(traced())).strip() == block("simplified")


def test_the_kernels_are_those_shown():
    planned = plan(simplified(traced()))
    WasmTarget(("relaxed-simd",)).prepare(planned)
    text = "\n".join(launch.text() for launch in planned.launches)
    assert text.strip() == block("kernels")


def test_the_python_runs():
    (source,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    scope = {}
    exec(source, scope)
    assert float(scope["value"]) == 64 * 48 * 32
    assert scope["slope"].tolist() == [[64.0] * 48] * 32


def test_every_file_named_exists():
    package = ROOT / "src" / "tabgrad"
    known = {str(p.relative_to(package)) for p in package.rglob("*")} | {
        p.name for p in package.rglob("*")
    }
    known |= {
        str(p.relative_to(ROOT))
        for folder in ("tests", "tools")
        for p in (ROOT / folder).rglob("*.py")
    }
    for name in re.findall(r"`([\w/]+\.(?:py|js))`", TEXT):
        assert name in known, name
