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
