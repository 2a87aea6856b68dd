"""All workloads by name."""

from __future__ import annotations

import re

from bench.workload import Workload
from bench.workloads import convolutions, networks, operations, pages, products

ALL: dict[str, Workload] = {
    workload.name: workload
    for workload in [
        *products.WORKLOADS,
        *convolutions.WORKLOADS,
        *operations.WORKLOADS,
        *networks.WORKLOADS,
        *pages.WORKLOADS,
    ]
}


def chosen(pattern: str) -> list[Workload]:
    """Those whose name a regular expression is found in."""
    return [workload for name, workload in ALL.items() if re.search(pattern, name)]


def computing(pattern: str) -> list[Workload]:
    """Of those the ones that have functions to compile.

    Raises:
        SystemExit: there is none.
    """
    found = [workload for workload in chosen(pattern) if not workload.visits]
    if not found:
        raise SystemExit(
            "expected a regular expression found in the name of a workload that computes, "
            f"received {pattern!r}; `python -m bench.run --list` names them"
        )
    return found
