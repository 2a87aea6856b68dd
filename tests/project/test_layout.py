"""Imports go downwards only, and the package needs nothing but Python to be imported.

The arrows are those of ARCHITECTURE.md. They are read from the source, so an import inside a
function or under TYPE_CHECKING counts as one at the top of the file does.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
PACKAGE = SOURCE / "tabgrad"

# Which part a module belongs to, by its first name below `tabgrad`. Whatever is not named here is
# a user module: layers, models, training, losses, formats, web and so on.
PARTS = {
    "": "package",
    "version": "base",
    "errors": "base",
    "config": "base",
    "dtypes": "base",
    "trees": "base",
    "ir": "ir",
    "compiler": "compiler",
    "targets": "targets",
    "engines": "engines",
    "realize": "realize",
    "machines": "realize",
    "tensor": "reading",
    "packing": "reading",
    "dlpack": "reading",
    "printing": "reading",
    "variable": "reading",
    "jit": "reading",
    "closures": "reading",
    "signature": "reading",
    "ops": "building",
    "random": "building",
    "transformations": "building",
    "nn": "building",
    "image": "building",
    "signal": "building",
    "fft": "building",
    "linalg": "building",
    "segment": "building",
}
MAY_IMPORT = {
    "base": {"base"},
    "ir": {"base", "ir"},
    # The compiler is handed its target and its engine.
    "compiler": {"base", "ir", "compiler"},
    "targets": {"base", "ir", "compiler", "targets"},
    "engines": {"base", "ir", "compiler", "engines"},
    # The one seam between nodes and whatever compiles and runs them.
    "realize": {"base", "ir", "compiler", "targets", "engines", "realize"},
    # What builds nodes, and what gets at values. Both ask the seam: whether a function is being
    # captured, what a node's value is.
    "building": {"base", "ir", "building", "reading", "realize"},
    "reading": {"base", "ir", "building", "reading", "realize"},
    # Layers, models, training, export: the graph itself is none of their business.
    "user": {"base", "building", "reading", "realize", "user"},
    "package": {"base", "building", "reading", "realize", "user"},
}
# What is in several targets is beside them (targets/coefficients.py) or in `shading`.
TARGETS = {"wasm": {"wasm"}, "wgsl": {"wgsl", "shading"}, "glsl": {"glsl", "shading"}}
# Modules of one beginning, of which each may import those before it.
ORDERS = {
    "tabgrad.realize.": "values scopes absent programs current pending moving candidates".split(),
    "tabgrad.engines.wgpu": ["_adapter", "_commands", "_buffers", "_runs", ""],
}
# These two run wherever Python does, with no package installed.
STANDARD_LIBRARY_ONLY = {"base", "ir", "compiler"}

MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def part_of(name):
    """The part that a module, or a name imported from one, belongs to."""
    first = name.split(".")[1] if "." in name else ""
    if first not in PARTS and f"tabgrad.{first}" not in MODULES:
        return "package"  # something that tabgrad/__init__.py defines
    return PARTS.get(first, "user")


def imported_names(module, path):
    """Every dotted name that `module` imports, with the line where it does."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                yield f"{base}.{alias.name}", node.lineno
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in {"import_module", "__import__"} and isinstance(node.args[0], ast.Constant):
                yield node.args[0].value, node.lineno


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_downwards(module):
    allowed = MAY_IMPORT[part_of(module)]
    wrong = [
        f"{MODULES[module].relative_to(SOURCE)}:{line} imports {name}"
        for name, line in imported_names(module, MODULES[module])
        if name.split(".")[0] == "tabgrad" and part_of(name) not in allowed
    ]
    assert not wrong, f"{part_of(module)} may import {sorted(allowed)} only:\n" + "\n".join(wrong)


@pytest.mark.parametrize("beginning", ORDERS)
def test_imports_inside_a_part_go_downwards(beginning):
    order = [f"{beginning}{name}" for name in ORDERS[beginning]]
    assert set(order) == {module for module in MODULES if module.startswith(beginning)}
    for i, module in enumerate(order):
        for name, line in imported_names(module, MODULES[module]):
            if f"{name}.".startswith(beginning):
                below = any(f"{name}.".startswith(f"{one}.") for one in order[:i])
                assert below, f"{module}:{line} imports {name}"


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("tabgrad.targets.")])
def test_targets_know_none_of_the_others(module):
    prefix = "tabgrad.targets."
    folders = {path.parent.name for path in (PACKAGE / "targets").glob("*/__init__.py")}
    own = module.removeprefix(prefix).split(".")[0]
    wrong = [
        f"{MODULES[module].relative_to(SOURCE)}:{line} imports {name}"
        for name, line in imported_names(module, MODULES[module])
        if name.startswith(prefix)
        and name.removeprefix(prefix).split(".")[0] in folders - TARGETS.get(own, {own})
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", [m for m in MODULES if part_of(m) in STANDARD_LIBRARY_ONLY])
def test_compiling_needs_the_standard_library_only(module):
    known = sys.stdlib_module_names | {"tabgrad"}
    wrong = [
        f"{MODULES[module].relative_to(SOURCE)}:{line} imports {name}"
        for name, line in imported_names(module, MODULES[module])
        if name.split(".")[0] not in known
    ]
    assert not wrong, "\n".join(wrong)


def test_every_named_part_exists():
    """A renamed module does not slip out of the table."""
    names = {module.split(".")[1] for module in MODULES if "." in module}
    assert set(PARTS) - {""} <= names


def test_the_player_imports_only_itself():
    """The player's files are copied beside a page as they are: they reach nothing outside."""
    player = PACKAGE / "player"
    pattern = re.compile(r"""(?:\bfrom|\bimport)\s*\(?\s*["']([^"'\n]+)["']""")
    scripts = sorted(player.rglob("*.js"))
    assert scripts
    wrong = []
    for script in scripts:
        for specifier in pattern.findall(script.read_text(encoding="utf-8")):
            target = (script.parent / specifier).resolve()
            inside = specifier.startswith(("./", "../"))
            # Node's own modules are for running the player outside a browser.
            if specifier.startswith("node:") or (
                inside and target.is_relative_to(player) and target.is_file()
            ):
                continue
            wrong.append(f"{script.relative_to(SOURCE)} imports {specifier}")
    assert not wrong, "\n".join(wrong)


def run_python(*arguments):
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_imports_with_the_standard_library_alone():
    """-I and -S leave out site-packages altogether, which is what Pyodide starts with."""
    program = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); import tabgrad"
    run_python("-I", "-S", "-W", "error", "-c", program)


def test_trains_and_exports_without_numpy(tmp_path):
    program = f"""
import sys
sys.modules["numpy"] = None  # makes every import of it fail
import tabgrad as tg
model = tg.Sequential([tg.Input((1,)), tg.layers.Dense(1)])
model.compile(optimizer="sgd", loss="mean_squared_error")
model.fit([[1.0], [2.0], [3.0], [4.0]], [[1.0], [3.0], [5.0], [7.0]], epochs=100, verbose=0)
assert abs(model.predict([[5.0]]).tolist()[0][0] - 9) < 1.3
tg.export(model, {str(tmp_path / "site")!r})
"""
    run_python("-W", "error", "-c", program)
    assert (tmp_path / "site" / "index.html").is_file()


def test_importing_loads_neither_numpy_nor_an_engine():
    loaded = run_python("-c", "import tabgrad, sys; print(*sys.modules)").split()
    assert "tabgrad" in loaded
    assert not {"numpy", "wasmtime", "wgpu", "jax", "js"} & set(loaded)
