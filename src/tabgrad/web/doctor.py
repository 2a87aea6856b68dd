"""`doctor.html`: a static page that looks at a visitor's browser as `tabgrad doctor` at a laptop.

It holds the player's engines and a small Program for each, compiled here: a product of matrices, a
map, a start of next to nothing, and functions whose precision is measured. What it finds out is in
`templates/doctor.js` and `templates/doctor-engines.js`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from tabgrad import jit, ops
from tabgrad.tensor import Tensor
from tabgrad.version import VERSION
from tabgrad.web.bundle import bundle
from tabgrad.web.export import GPU_FEATURES
from tabgrad.web.site import Site
from tabgrad.web.variants import variants

KINDS = {"wasm": [(), ("relaxed-simd",)], **GPU_FEATURES}
SIDE, ELEMENTS, POINTS = 512, 1 << 22, 4096


def write_page(folder: str | Path) -> Site:
    """Write doctor.html and what it needs into a folder, which any static server can serve.

    Args:
        folder: made where it is missing.

    Returns:
        What was written, with sizes.

    Example:
        >>> write_page("/tmp/doctor")  # doctest: +SKIP
    """
    contents: dict[str, bytes] = {}
    programs = []
    for kind, sets in KINDS.items():
        for features, program in variants(_graphs(), sets, kind):
            short = "-".join([kind, *features])
            path = f"doctor.{short}.{'wasm' if kind == 'wasm' else 'json'}"
            contents[path] = program.binary
            entries = [entry.header() for entry in program.entries]
            programs.append(
                {"kind": kind, "features": list(features), "file": path, "entries": entries}
            )
    described = {
        "tabgrad": VERSION,
        "side": SIDE,
        "elements": ELEMENTS,
        "points": POINTS,
        "programs": programs,
    }
    contents["doctor.json"] = json.dumps(described, separators=(",", ":")).encode()
    page, player = _reader("web", "templates"), _reader("player")
    engines = ["features", *KINDS]
    texts = {
        **bundle(player, [f"tabgrad/{name}.js" for name in engines]),
        **bundle(page, ["doctor.js"]),
        "doctor.css": page("page.css") + page("doctor.css"),
        "doctor.html": page("doctor.html"),
        "icon.svg": page("icon.svg"),
    }
    contents |= {path: text.encode() for path, text in texts.items()}
    site = Site(Path(folder))
    for path in sorted(contents):
        target = site.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(contents[path])
        site.sizes[path] = (len(contents[path]), len(gzip.compress(contents[path], 9, mtime=0)))
    return site


def _reader(*folder: str) -> Callable[[str], str]:
    place = files("tabgrad").joinpath(*folder)
    return lambda path: place.joinpath(*path.split("/")).read_text(encoding="utf-8")


def _graphs() -> list[Any]:
    """The entries of the page's Programs, in the order in which `doctor-engines.js` runs them."""

    def functions(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return ops.exp(x), ops.log(y), ops.sin(x), ops.tanh(x)

    entries: list[tuple[Any, list[tuple[int, ...]]]] = [
        (lambda a, b: a @ b, [(SIDE, SIDE), (SIDE, SIDE)]),
        (lambda x: x * 2.0 + 1.0, [(ELEMENTS,)]),
        (lambda x: x + 1.0, [(4,)]),
        (functions, [(POINTS,), (POINTS,)]),
        (lambda x: x * 2.0, [(4,)]),
    ]
    names = ("matmul", "map", "launch", "functions", "subnormals")
    return [
        jit.trace(function, [(shape, "float32", False) for shape in shapes], name=name).graph
        for name, (function, shapes) in zip(names, entries, strict=True)
    ]
