"""Writing an exported model as a folder that any static server can serve.

The folder holds the page, the player and the model: model.json, weights and data as safetensors,
one kernel file for each set of browser features. What goes into model.json is decided by
`export.py`; this module gives the parts names, writes them and measures them.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from tabgrad.formats import safetensors
from tabgrad.formats.safetensors import Array
from tabgrad.web.bundle import bundle


@dataclass(frozen=True)
class Initial:
    """The variables from before any training, for training from scratch in the page.

    Args:
        arrays: variables that begin with a value.
        zeros: names of variables that begin as zeros. Variables named in neither stay as they are.
    """

    arrays: Mapping[str, Array]
    zeros: Sequence[str] = ()


@dataclass(frozen=True)
class Data:
    """A sample dataset for the page to train on and to test with.

    Each is a list with one array for each input or target of the model.
    """

    x: Sequence[Array]
    y: Sequence[Array]
    x_test: Sequence[Array] = ()
    y_test: Sequence[Array] = ()


@dataclass
class Site:
    """What was written: sizes in bytes, as they are and compressed with gzip, by path."""

    folder: Path
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        width = max(map(len, self.sizes), default=0)
        lines = [f"{self.folder}/"]
        for path, (raw, packed) in self.sizes.items():
            lines.append(f"  {path:<{width}} {raw:>11,} bytes {packed:>11,} gzip")
        raw, packed = (sum(size[i] for size in self.sizes.values()) for i in (0, 1))
        lines.append(f"  {'in all':<{width}} {raw:>11,} bytes {packed:>11,} gzip")
        return "\n".join(lines + [f"  {note}" for note in self.notes])


def write_site(
    folder: str | Path,
    *,
    model: Mapping[str, Any],
    programs: Mapping[tuple[str, ...], bytes],
    weights: Mapping[str, Array],
    shaders: Mapping[str, Mapping[tuple[str, ...], bytes]] | None = None,
    initial: Initial | None = None,
    data: Data | None = None,
    notes: Sequence[str] = (),
    verification: Mapping[str, bytes] | None = None,
) -> Site:
    """Write a page, the player and a model into a folder, over what an earlier export left there.

    Args:
        folder: made where it is missing.
        model: the content of model.json but for "weights", "programs", "initial" and "data", which
            describe the files written here.
        programs: binary kernels by the browser features they need, () for none.
        weights: the value of every variable that does not start as zeros.
        shaders: kernels for GPUs by kind of engine ("webgpu", "webgl") and features they need.
        initial: the variables from before any training.
        data: a sample dataset.
        notes: what else is to be said when sizes are printed.
        verification: files for `model.verify()`, of which "verify.json" names the others.

    Example:
        >>> write_site("site", model=model, programs={(): binary}, weights={})  # doctest: +SKIP
    """
    site = Site(Path(folder), notes=list(notes))
    contents: dict[str, bytes] = {}

    def part(path: str, content: bytes) -> dict[str, Any]:
        contents[path] = content
        return {"file": path, "nbytes": len(content)}

    described = dict(model)
    described["weights"] = [part("weights.safetensors", safetensors.dumps(weights))]
    described["programs"] = {
        kind: [
            {"features": list(features), **part(_kernel_file(kind, features), kernels[features])}
            # The most demanding first: the player takes the first that the device can run.
            for features in sorted(kernels, key=len, reverse=True)
        ]
        for kind, kernels in {"wasm": programs, **(shaders or {})}.items()
    }
    for kind in shaders or {}:
        for program in described["programs"][kind]:
            # By which the player knows again what it has measured.
            program["hash"] = hashlib.sha256(contents[program["file"]]).hexdigest()[:16]
    described["initial"] = initial and {
        "files": [part("initial.safetensors", safetensors.dumps(initial.arrays))],
        "zeros": list(initial.zeros),
    }
    described["data"] = data and _data(data, part)
    for path, content in (verification or {}).items():
        part(path, content)
    if verification:
        described["verify"] = part("verify.json", verification["verify.json"])
    contents["model.json"] = json.dumps(described, separators=(",", ":")).encode()

    digits = (model.get("task") or {}).get("kind") == "digits"
    halves = any("shader-f16" in features for features in (shaders or {}).get("webgpu", ()))
    for path, text in page_files(
        model["title"],
        digits=digits,
        gpus=shaders or (),
        halves=halves,
        verify=bool(verification),
    ):
        contents[path] = text.encode()

    for path in sorted(contents):
        target = site.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(contents[path])
        packed = gzip.compress(contents[path], 9, mtime=0)
        site.sizes[path] = (len(contents[path]), len(packed))
    return site


def page_files(
    title: str,
    *,
    digits: bool,
    gpus: Collection[str] = (),
    halves: bool = False,
    verify: bool = False,
) -> Iterator[tuple[str, str]]:
    """The page and the player as (path, text): what models for no kind of GPU need is the same for
    all of them. `halves` says whether there are kernels that keep float16 in 16 bits."""
    package = files("tabgrad")
    player = _reader(package / "player")
    page = _reader(package / "web" / "templates")
    absent = {f"tabgrad/{kind}.js" for kind in ("webgpu", "webgl") if kind not in gpus}
    if not gpus:
        absent |= {"tabgrad/relay.js", "tabgrad/choosing.js"}
    if not halves:
        absent.add("tabgrad/halves.js")
    if not verify:
        absent.add("tabgrad/verify.js")
    yield from bundle(player, ["tabgrad.js", "tabgrad/worker.js"], absent).items()
    outside = ["tabgrad.js"] if digits else ["tabgrad.js", "digits.js"]
    yield from bundle(page, ["page.js"], outside).items()
    style = page("page.css") + (page("digits.css") if digits else "")
    # Without the white space and the last semicolons that it can do without.
    style = re.sub(r"\s*\n\s*|(?<=[:,]) | (?=\{)", "", style)
    yield "page.css", style.replace(";}", "}")
    yield "index.html", page("index.html").replace("{title}", html.escape(title))
    yield "icon.svg", page("icon.svg")
    # For editors of those who write a page of their own; browsers never ask for it.
    yield "tabgrad.d.ts", player("tabgrad.d.ts")
    # Node takes .js files for modules only where a package.json says so.
    yield "package.json", player("package.json")


def _reader(folder: Traversable) -> Callable[[str], str]:
    return lambda path: folder.joinpath(*path.split("/")).read_text(encoding="utf-8")


def _kernel_file(kind: str, features: Sequence[str]) -> str:
    short = [feature.removesuffix("-simd") for feature in features]
    return ".".join(["kernels", *short, *(["wasm"] if kind == "wasm" else [kind, "json"])])


def _data(data: Data, part: Any) -> dict[str, Any]:
    arrays: dict[str, Array] = {}
    names: dict[str, list[str]] = {}
    for column in ("x", "y", "x_test", "y_test"):
        found: Sequence[Array] = getattr(data, column)
        names[column] = [f"{column}.{i}" if i else column for i in range(len(found))]
        arrays.update(zip(names[column], found))
    return {**part("data.safetensors", safetensors.dumps(arrays)), **names}
