"""Who takes part: tabgrad and its peers, on which engine, in which kind of page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.site import HERE, PEERS

# TensorFlow.js uses half the logical processors; two threads on two need it told of four.
MORE_PROCESSORS = "Object.defineProperty(navigator, 'hardwareConcurrency', { get: () => 4 });"


@dataclass(frozen=True)
class Contestant:
    """One column of the table.

    Args:
        name: as in the table.
        library: "tabgrad", "tfjs", "ort", "jax", or without a browser "wasmtime", "torch".
        query: what its page's address says.
        threads: 1 runs in a page without special headers, 2 in an isolated one.
        usual: takes part without being asked for by name.
        script: runs in its page first.
        visits: takes part only where whole pages are visited, not where they are asked.
    """

    name: str
    library: str
    query: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    usual: bool = True
    script: str = ""
    visits: bool = False

    @property
    def is_tabgrad(self) -> bool:
        return self.library in ("tabgrad", "wasmtime")

    @property
    def native(self) -> bool:
        """Whether it runs outside of the browser, and is no peer but something to compare with."""
        return self.library in ("wasmtime", "torch")

    @property
    def page(self) -> str:
        if not self.is_tabgrad:
            return "peer"
        return "tabgrad-gpu" if "backend" in self.query else "tabgrad"

    @property
    def package(self) -> str:
        """The npm package that it is in."""
        return {"tfjs": "@tensorflow/tfjs", "ort": "onnxruntime-web", "jax": "@jax-js/jax"}[
            self.library
        ]

    @property
    def full_query(self) -> dict[str, str]:
        return {"library": self.library, "threads": str(self.threads), **self.query}


ALL = [
    Contestant("tabgrad", "tabgrad", {"tree": HERE}),
    # The page that tg.export writes, which loads and shows forms and charts besides.
    Contestant("tabgrad-exported", "tabgrad", usual=False, visits=True),
    Contestant("tfjs-wasm", "tfjs", {"backend": "wasm"}),
    Contestant("tfjs-cpu", "tfjs", {"backend": "cpu"}),
    Contestant("ort-wasm", "ort", {"backend": "wasm"}),
    Contestant("jax-wasm", "jax", {"backend": "wasm"}),
    Contestant("tabgrad-2t", "tabgrad", {"tree": HERE}, threads=2),
    Contestant("tfjs-wasm-2t", "tfjs", {"backend": "wasm"}, threads=2, script=MORE_PROCESSORS),
    Contestant("ort-wasm-2t", "ort", {"backend": "wasm"}, threads=2),
    Contestant("jax-wasm-2t", "jax", {"backend": "wasm"}, threads=2),
    Contestant("wasmtime", "wasmtime"),
    Contestant("torch", "torch"),
    Contestant("torch-2t", "torch", threads=2),
    Contestant("tabgrad-webgpu", "tabgrad", {"tree": HERE, "backend": "webgpu"}, usual=False),
    Contestant("tabgrad-webgl", "tabgrad", {"tree": HERE, "backend": "webgl"}, usual=False),
    Contestant("tfjs-webgl", "tfjs", {"backend": "webgl"}, usual=False),
    Contestant("tfjs-webgpu", "tfjs", {"backend": "webgpu"}, usual=False),
    Contestant("ort-webgpu", "ort", {"backend": "webgpu"}, usual=False),
    Contestant("jax-webgpu", "jax", {"backend": "webgpu"}, usual=False),
]


def version(package: str) -> str | None:
    """The version of an installed npm package."""
    found = PEERS / package / "package.json"
    return str(json.loads(found.read_text())["version"]) if found.exists() else None
