"""`tabgrad doctor`: which engines this laptop has, what they can do and how fast they are.

Each engine is looked at in a process of its own, so that a driver that crashes takes nothing with
it. Not here: the same for a browser (`web/doctor.py`).
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from tabgrad import config, jit, ops, random, realize
from tabgrad.errors import EngineError, NotSupportedError
from tabgrad.jit import Bound
from tabgrad.tensor import tensor
from tabgrad.version import VERSION

# What is looked at, and the line that gets it where it is missing.
INSTALL = {
    "wasm": "pip install 'wasmtime>=25'",
    "webgpu": "pip install 'tabgrad[gpu]'",
    "jax": "pip install 'tabgrad[jax]'",
}
PACKAGES = {
    "numpy": ("pip install numpy", "model.verify(), the reference engine and NumPy arrays"),
    "h5py": ("pip install 'tabgrad[keras]'", "Keras files"),
    "onnx": ("pip install 'tabgrad[onnx]'", "ONNX files"),
}
PATIENCE = 180  # seconds for an engine
SIDE, ELEMENTS = 512, 1 << 24  # of the matrices, and of the map
POINTS = 4096  # of each function whose precision is measured
# Of real numbers between these, spread evenly over exponents where both are positive.
PROBES: Mapping[str, tuple[float, float]] = {
    "exp": (-80.0, 80.0),
    "log": (1e-30, 1e30),
    "sin": (-10.0, 10.0),
    "tanh": (-5.0, 5.0),
}


def examine(name: str) -> dict[str, Any]:
    """What there is to say about one engine: "wasm", "webgpu" or "jax". Raises what is wrong."""
    if name == "jax":
        return _jax()
    engine = realize.make_engine(name, False)
    facts = _webgpu(engine) if name == "webgpu" else _wasm(engine)
    with realize.using(engine):
        facts["precision"] = _precision()
        facts["benchmark"] = _benchmark(engine)
    return facts


def _wasm(engine: Any) -> dict[str, Any]:
    return {
        "version": f"wasmtime {metadata.version('wasmtime')}",
        "features": sorted(engine.features) or ["none"],
        "code cache": "on" if config.cache else "off (TABGRAD_CACHE=0)",
    }


def _webgpu(engine: Any) -> dict[str, Any]:
    info, limits = engine.adapter.info, engine.adapter.limits
    named = (
        "max-buffer-size",
        "max-storage-buffer-binding-size",
        "max-storage-buffers-per-shader-stage",
        "max-compute-invocations-per-workgroup",
        "max-compute-workgroup-storage-size",
    )
    facts = {
        "version": f"wgpu {metadata.version('wgpu')}",
        "adapter": info["device"],
        "driver": info["description"] or "unknown",
        "backend": info["backend_type"],
        "software": info["adapter_type"] == "CPU",
        "schedule": "cooperative" if "cooperative" in engine.features else "serial",
        "limits": {key: limits[key] for key in named if key in limits},
        "features": sorted(engine.adapter.features),
    }
    if facts["software"]:
        facts["advice"] = (
            "this adapter is a processor; tg.set_engine('wasm') is faster. A GPU needs its "
            "driver with Vulkan, Metal or Direct3D 12"
        )
    return facts


def _jax() -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    devices = jax.devices()
    one = jnp.ones((SIDE, SIDE), jnp.float32)
    product = jax.jit(jnp.matmul)
    seconds = _best(lambda: product(one, one).block_until_ready())
    return {
        "version": f"jax {jax.__version__}",
        "devices": [f"{device.platform}: {device.device_kind}" for device in devices],
        "benchmark": {"matmul GFLOP/s": _rate(2 * SIDE**3, seconds)},
    }


def _precision() -> dict[str, Any]:
    """How far functions are from Python's float64, in units in the last place of float32."""
    found: dict[str, Any] = {}
    for name, (low, high) in PROBES.items():
        if low > 0:
            step = math.log(high / low) / (POINTS - 1)
            points = [low * math.exp(step * i) for i in range(POINTS)]
        else:
            points = [low + (high - low) * i / (POINTS - 1) for i in range(POINTS)]
        x = tensor(points)
        got = getattr(ops, name)(x).tolist()
        right = [getattr(math, name)(value) for value in x.tolist()]
        # An element's unit; that of 2**-10 for sin near its zeros, where it is absolute.
        units = [
            2.0 ** (math.frexp(max(abs(r), 2**-10 if name == "sin" else 0))[1] - 24) for r in right
        ]
        worst = max(abs(g - r) / unit for g, r, unit in zip(got, right, units, strict=True))
        found[f"{name} (ULP)"] = round(worst, 2)
    found["subnormals"] = "kept" if (tensor([1e-39]) * 2.0).tolist()[0] > 0 else "flushed to 0"
    return found


def _benchmark(engine: Any) -> dict[str, float]:
    """Rates of a product of matrices and of a map, and how long starting anything takes."""
    a = random.normal((SIDE, SIDE), seed=1)
    x = ops.ones((ELEMENTS,))
    product = _bound(lambda a, b: a @ b, a, a)
    mapped = _bound(lambda x: x * 2.0 + 1.0, x)
    started = _bound(lambda x: x + 1.0, ops.ones((4,)))

    def timed(bound: Bound, times: int = 1) -> float:
        def run() -> None:
            for _ in range(times):
                bound.run()
            engine.sync()

        return _best(run) / times

    return {
        "matmul GFLOP/s": _rate(2 * SIDE**3, timed(product)),
        "map GB/s": _rate(8 * ELEMENTS, timed(mapped)),
        "launch us": round(1e6 * timed(started, 100), 1),
    }


def _bound(function: Callable[..., Any], *arguments: Any) -> Bound:
    bound: Bound = jit.compile(function).bind(*arguments)
    for buffer, argument in zip(bound.inputs, arguments, strict=True):
        assert buffer is not None
        bound.engine.write(buffer.handle, realize.read(argument.node))
    return bound


def _best(run: Callable[[], Any], seconds: float = 0.4) -> float:
    """The shortest of several runs, after one that does not count."""
    run()
    best, end = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < end or best == math.inf:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def _rate(amount: float, seconds: float) -> float:
    return round(amount / seconds / 1e9, 2)


def report(only: Mapping[str, str] = INSTALL) -> dict[str, Any]:
    """Everything about this laptop, as it stands in JSON. An engine that fails says why."""
    return {
        "tabgrad": VERSION,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory": _memory(),
        "engines": {name: _engine(name) for name in only},
        "packages": {name: _package(name) for name in PACKAGES},
    }


def _engine(name: str) -> dict[str, Any]:
    """What a process of its own finds out about an engine."""
    package = {"wasm": "wasmtime", "webgpu": "wgpu"}.get(name, name)
    if _version(package) is None:
        why = f"the package {package} is not installed"
        return {"available": False, "why": why, "run": INSTALL[name]}
    command = [sys.executable, "-m", "tabgrad", "doctor", "--engine", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"available": False, "why": f"nothing came of it: {error}"}
    lines = done.stdout.strip().splitlines()
    try:
        found: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        said = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        return {"available": False, "why": f"its process ended with {done.returncode}: {said[0]}"}
    return found


def alone(name: str) -> dict[str, Any]:
    """`examine` without exceptions: what the process of an engine prints."""
    try:
        return {"available": True, **examine(name)}
    except ImportError as error:
        return {"available": False, "why": str(error), "run": INSTALL[name]}
    except (EngineError, NotSupportedError) as error:
        return {"available": False, "why": str(error)}
    except Exception as error:  # whatever is wrong with an engine is what is asked for
        return {"available": False, "why": f"{type(error).__name__}: {error}"}


def _package(name: str) -> dict[str, Any]:
    version = _version(name)
    run, purpose = PACKAGES[name]
    if version is None:
        return {"available": False, "for": purpose, "run": run}
    return {"available": True, "for": purpose, "version": version}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> dict[str, int | None]:
    """Bytes of the machine, and of those nobody uses now; None where it cannot be asked."""

    def pages(name: str) -> int | None:
        try:
            return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, OSError, ValueError):
            return None

    return {"total": pages("SC_PHYS_PAGES"), "free": pages("SC_AVPHYS_PAGES")}


def text(found: Mapping[str, Any]) -> str:
    """A report to read."""
    memory = found["memory"]
    lines = [
        f"tabgrad {found['tabgrad']}, {found['python']}, {found['system']}",
        f"{found['processor']}, {found['cores']} cores, memory {_size(memory['total'])}, of which "
        f"{_size(memory['free'])} free",
    ]
    for name, engine in found["engines"].items():
        lines += ["", *_shown(name, engine)]
    lines += ["", "packages"]
    for name, package in found["packages"].items():
        version = package.get("version") or f"not installed. Run: {package['run']}"
        lines.append(f"  {name + ':':<14}{version} (for {package['for']})")
    return "\n".join(lines)


def _shown(name: str, engine: Mapping[str, Any]) -> list[str]:
    if not engine["available"]:
        run = f". Run: {engine['run']}" if "run" in engine else ""
        return [f"{name}: not available: {engine['why']}{run}"]
    lines = [f"{name}: available"]
    for key, value in engine.items():
        if key == "available":
            continue
        if isinstance(value, bool):
            value = "yes" if value else "no"
        elif isinstance(value, Mapping):
            value = ", ".join(
                f"{k} {v:,}" if isinstance(v, int) else f"{k} {v}" for k, v in value.items()
            )
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        lines.append(f"  {key + ':':<14}{value}")
    return lines


def _size(nbytes: int | None) -> str:
    return "unknown" if nbytes is None else f"{nbytes / 2**30:.1f} GB"
