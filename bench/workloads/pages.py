"""What is measured of whole pages, by bench/startup.py: no arrays, no kernels."""

from __future__ import annotations

from typing import Any

from bench.workload import Workload


def _page(name: str, kind: str, group: str, **options: Any) -> Workload:
    return Workload(
        name=name,
        kind=f"visit-{kind}",
        group=group,
        arrays=dict,
        functions=lambda arrays: {},
        **{"unit": "ms", **options},
    )


def _memory(network: str, **options: Any) -> Workload:
    name = f"memory/{network.partition('/')[2]}"
    return _page(
        *(name, "memory", "peak memory of the page's process, less a blank page's"),
        parameters={"like": network},
        unit="MB",
        **options,
    )


SEED, START = "the seed program", "start-up"
WORKLOADS = [
    _page("seed/page", "seed", SEED, wanted={"tfjs": 8.0}),
    _page("seed/page-es2017", "seed", SEED),
    _page("seed/fit", "seed", SEED, wanted={"tfjs": 30.0}),
    _page("start/first-result", "start", START, at_most=40.0),
    _page("start/whole-page", "start", START),
    _page("start/code", "start", START, unit="kB"),
    _page("start/javascript", "start", START, unit="kB", at_most=15.0),
    # Its backend "cpu" needs less memory than "wasm", and a hundred times as long.
    _memory("train/mlp", wanted={"tfjs-wasm": 2.0}),
    _memory("infer/mobilenet", wanted={"tfjs-wasm": 2.0}),
    _memory("infer/minilm", wanted={"tfjs-wasm": 2.0}),
]
