"""Opening a GPU with wgpu: the package, the adapter, and the device with all of its room.

Not here: what is done with it (`wgpu.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabgrad.engines import timestamps
from tabgrad.errors import EngineError, MissingPackageError


def package() -> Any:
    """The module wgpu, which is optional."""
    try:
        import wgpu
    except ImportError as error:
        raise MissingPackageError(
            "expected the package wgpu for the engine 'webgpu'; it is not installed. "
            "Run: pip install 'tabgrad[gpu]'"
        ) from error
    return wgpu


def find(wgpu: Any, name: str) -> Any:
    """The adapter with a name like this one, by default the one that wgpu chooses."""
    if name:
        for one in wgpu.gpu.enumerate_adapters_sync():
            if name.lower() in one.info["device"].lower():
                return one
        found = None
    else:
        try:
            found = wgpu.gpu.request_adapter_sync(power_preference="high-performance")
        except RuntimeError:  # what wgpu raises where there is none
            found = None
    if found is None:
        known = [one.info["device"] for one in wgpu.gpu.enumerate_adapters_sync()]
        raise EngineError(
            f"expected a GPU adapter{f' like {name!r}' if name else ''}; this machine has {known}. "
            "Use tg.set_engine('wasm')",
            code="adapter",
        )
    return found


def opened(wgpu: Any, adapter: Any, features: Sequence[str]) -> Any:
    """A device with these features, and a clock where there is one, whose buffers may be as large
    as the adapter's."""
    features = [*features, *({timestamps.FEATURE} & set(adapter.features))]
    limits = {
        name: adapter.limits[name]
        for name in ("max-buffer-size", "max-storage-buffer-binding-size")
    }
    try:
        return adapter.request_device_sync(required_features=features, required_limits=limits)
    except (wgpu.GPUError, RuntimeError) as error:
        raise EngineError(
            f"expected a GPU that can be used; {adapter.info['device']} cannot be opened: "
            f"{error}. Use tg.set_engine('wasm')",
            code="adapter",
        ) from error
