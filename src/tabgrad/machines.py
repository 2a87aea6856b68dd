"""Making engines by their names, and the targets that write their Programs.

Not here: which one is current, and what runs on it (`realize/`).
"""

from __future__ import annotations

import sys
from typing import Any

from tabgrad import config
from tabgrad.errors import ArgumentError, NotSupportedError, TabgradError


def make(name: str, deterministic: bool) -> tuple[Any, Any]:
    """A new engine of a kind: itself, and with what switches put around it.

    Raises:
        ArgumentError: an unknown name, or `deterministic` on a GPU.
        NotSupportedError: "webgl" outside of a browser.
        EngineError: there is no such engine here ("adapter" and others).
    """
    bare = made = _bare_engine(name, deterministic)
    if config.validate and made.kind != "reference":
        from tabgrad.engines.validate import ValidatingEngine

        made = ValidatingEngine(made, target_of(made))
    if config.debug >= 5:
        from tabgrad.engines.timing import TimedEngine

        made = TimedEngine(made)
    return bare, made


def _bare_engine(name: str, deterministic: bool) -> Any:
    if name == "reference":
        from tabgrad.engines.reference import ReferenceEngine

        return ReferenceEngine()
    if name == "exact":  # the reference without rounding on the way, for `Model.verify`
        from tabgrad.engines.reference.exact import ExactEngine

        return ExactEngine()
    if name in ("webgpu", "webgl") and deterministic:
        raise ArgumentError(
            "expected deterministic=True with the engine 'wasm', whose instructions give the same "
            f"bits everywhere; received {name!r}, where they are the adapter's. Leave it out, or "
            "use tg.set_engine('wasm', deterministic=True)"
        )
    if name == "webgl" and sys.platform == "emscripten":
        from tabgrad.engines.page_gl import PageGlEngine

        return PageGlEngine()
    if name == "webgl":
        raise NotSupportedError(
            "expected an engine that a laptop has: 'auto', 'wasm', 'webgpu' or 'reference'; "
            "received 'webgl', which only browsers have. Use tg.set_engine('webgpu') for this "
            "machine's GPU"
        )
    if name == "webgpu" and sys.platform == "emscripten":
        from tabgrad.engines.page_gpu import PageGpuEngine

        return PageGpuEngine()
    if name == "webgpu":
        from tabgrad.engines.wgpu import WgpuEngine

        return WgpuEngine()
    if name not in ("auto", "wasm"):
        known = "'auto', 'wasm', 'webgpu', 'webgl' or 'reference'"
        raise ArgumentError(f"expected an engine {known}; received {name!r}")
    if sys.platform == "emscripten":
        from tabgrad.engines.page import PageEngine

        return PageEngine(deterministic=deterministic)
    from tabgrad.engines.wasmtime import WasmtimeEngine

    return WasmtimeEngine(deterministic=deterministic)


def target_of(chosen: Any) -> Any:
    """The target whose kernels an engine runs; None for the reference engine, which runs graphs."""
    if chosen.kind == "reference":
        return None
    if chosen.kind == "wasm":
        from tabgrad.targets.wasm.target import WasmTarget

        return WasmTarget(chosen.features)
    if chosen.kind == "webgpu":
        from tabgrad.targets.wgsl.target import WgslTarget

        return WgslTarget(chosen.features)
    if chosen.kind == "webgl":
        from tabgrad.targets.glsl.target import GlslTarget

        return GlslTarget(chosen.features)
    raise TabgradError(f"internal: no target for engines of kind {chosen.kind!r}")
