"""tabgrad alone, in seconds: `python -m bench.quick REGEX [--against REF]`.

Runs the workloads whose name REGEX is found in, in one headless Chromium, in slices that alternate
with a register-only loop of multiply-adds and a plain copy. Prints milliseconds, the rate, and the
part of the machine's peak, or of what a copy of as many bytes reaches, that it is. With --against,
a commit or a folder with other sources (a worktree), both run in alternating slices, so that their
ratio holds on a busy machine, too.
"""

from __future__ import annotations

import argparse
import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import machine, site, workloads
from bench.browser import Contest, Entrant, PageError, contest
from bench.compare import Reference, WrongResultError
from bench.workload import Workload

HEADER = f"{'workload':<36}{'ms':>9}{'least':>9}{'at its best':>19}{'of peak':>9}{'error':>9}"


@contextmanager
def sources(reference: str | None) -> Iterator[dict[str, Path | None]]:
    """The trees to run by name: this one, and the folder of sources of another."""
    if reference is None:
        yield {site.HERE: None}
        return
    folder = Path(reference)
    if folder.is_dir():
        inner = folder / "src" if (folder / "src").is_dir() else folder
        yield {site.HERE: None, "other": inner.resolve()}
        return
    with tempfile.TemporaryDirectory() as scratch:
        archive = subprocess.run(
            ["git", "archive", reference, "src"], cwd=site.ROOT, capture_output=True, check=True
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(scratch, filter="data")
        yield {site.HERE: None, "other": Path(scratch) / "src"}


def run(
    browser: Contest,
    served: site.Site,
    workload: Workload,
    trees: list[str],
    options: argparse.Namespace,
) -> None:
    """One workload, in each tree."""
    arrays = served.add(workload)
    reference = Reference(workload, arrays)
    copying = bool(workload.nbytes)
    measured = {"measure": "copy" if copying else "arithmetic"}
    nbytes = site.copied_bytes(workload)
    shared = {"workload": workload.folder, "threads": str(options.threads)}
    queries = {tree: {**shared, "tree": tree} for tree in trees}
    entrants: dict[str, Entrant] = {}
    samples: dict[str, list[float]] = {"machine": [], **{tree: [] for tree in trees}}
    try:
        entrants["machine"] = browser.open(
            "machine",
            {**measured, "bytes": str(nbytes), "workload": workload.folder},
            isolated=True,  # for the finer clock
        )
        entrants["machine"].ask("open", warm=100)
        words = {}
        for tree in trees:
            entrants[tree] = browser.open("tabgrad", queries[tree], isolated=options.threads > 1)
            try:
                error = reference.error(entrants[tree].ask("open"))
                words[tree] = "-" if error is None else f"{error:.0e}"
            except WrongResultError as wrong:
                words[tree] = f" WRONG: {wrong}"
        for turn in range(options.rounds):
            order = [*entrants]
            shift = turn % len(order)
            for name in order[shift:] + order[:shift]:
                length = 15 if name == "machine" else options.ms
                samples[name] += entrants[name].ask("slice", ms=length, batch=10)
    except PageError as error:
        print(f"{workload.name:<34} failed: {error}")
        return
    finally:
        for entrant in entrants.values():
            entrant.close()
    # Of the least times: while others use the machine these say more than medians do.
    work = 2 * nbytes if copying else machine.FLOPS * site.ITERATIONS
    peak = work / min(samples["machine"]) / 1e6
    for tree in trees:
        middle, least = statistics.median(samples[tree]), min(samples[tree])
        rate, unit = workload.rate(least)
        part = f"{rate / peak:9.0%}" if workload.flops or workload.nbytes else " " * 9
        label = workload.name if len(trees) == 1 else f"{workload.name} {tree}"
        figures = f"{middle:>9.4g}{least:>9.4g}{rate:>11.4g} {unit:<7}{part}"
        print(f"{label:<36}{figures}{words[tree]:>9}", flush=True)
    if len(trees) == 2:
        here, other = (samples[tree] for tree in trees)
        ratio = statistics.median(other) / statistics.median(here)
        by_least = min(other) / min(here)
        print(f"{'':<36}{ratio:>9.2f}{by_least:>9.2f} times as fast as the other")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("regex", help="which workloads")
    parser.add_argument("--against", help="a commit, or a folder with other sources of tabgrad")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--ms", type=float, default=40, help="length of a slice (40)")
    parser.add_argument(
        "--threads", type=int, default=1, help="more than 1: in an isolated page (1)"
    )
    parser.add_argument("--list", action="store_true", help="only list the workloads")
    options = parser.parse_args()
    chosen = workloads.computing(options.regex)
    if options.list:
        print("\n".join(workload.name for workload in chosen))
        return
    with site.temporary() as served, sources(options.against) as trees:
        try:
            for tree, source in trees.items():
                served.export(chosen, tree, source)
        except site.ExportError as error:
            sys.exit(str(error))
        with contest(served.folder) as browser:
            print(HEADER)
            for workload in chosen:
                run(browser, served, workload, list(trees), options)


if __name__ == "__main__":
    main()
