"""bench/results.json and the Markdown table made of it; `python -m bench.report` makes it anew."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bench import contestants, misses, workloads
from bench.site import ROOT
from bench.workload import Workload

JSON = ROOT / "bench" / "results.json"
MARKDOWN = ROOT / "bench" / "RESULTS.md"
Row = Mapping[str, Any]


def read() -> dict[str, Any]:
    """The results so far; none of workloads that do not exist any more."""
    found: dict[str, Any] = {}
    if JSON.exists():
        found = json.loads(JSON.read_text())
    kept = found.get("workloads", {})
    return {
        "facts": found.get("facts", {}),
        "workloads": {name: row for name, row in kept.items() if name in workloads.ALL},
    }


def write(results: Mapping[str, Any]) -> None:
    """Both files."""
    order = {name: i for i, name in enumerate(workloads.ALL)}
    rows = dict(sorted(results["workloads"].items(), key=lambda item: order[item[0]]))
    JSON.write_text(json.dumps({**results, "workloads": rows}, indent=1) + "\n", encoding="utf-8")
    MARKDOWN.write_text(text({**results, "workloads": rows}, [*rows]), encoding="utf-8")


def best_peer(row: Row, library: str = "best") -> tuple[str, float] | None:
    """The fastest peer by its median, with one thread: of all, of one library, or this one."""
    known = {each.name: each for each in contestants.ALL}
    timed = [
        (found["median"], name)
        for name, found in row["contestants"].items()
        if "median" in found
        and not known[name].is_tabgrad
        and known[name].threads == 1
        and (
            library in (known[name].library, name) or (library == "best" and not known[name].native)
        )
    ]
    return (min(timed)[1], min(timed)[0]) if timed else None


def ratio(row: Row, library: str = "best") -> float | None:
    """How many times faster than a library, or the best peer, tabgrad is, with one thread."""
    own, best = row["contestants"].get("tabgrad", {}), best_peer(row, library)
    return float(best[1] / own["median"]) if best and "median" in own else None


def fraction(workload: Workload, row: Row) -> float | None:
    """The part of the machine's peak, or of a copy's speed, that tabgrad reached, by medians."""
    own = row["contestants"].get("tabgrad", {})
    if "median" not in own or not row["machine"] or not (workload.flops or workload.nbytes):
        return None
    limit: float = row["machine"]["arithmetic" if workload.flops else "copy"]["median"]
    return workload.rate(own["median"])[0] / limit


def line(workload: Workload, row: Row) -> str:
    """A row in one line, for the terminal."""
    parts = [workload.name]
    own = row["contestants"].get("tabgrad", {})
    if "median" in own:
        rate, unit = workload.rate(own["median"])
        parts.append(f"{rate:.4g} {unit}" if workload.unit else f"{own['median']:.4g} ms")
        parts += [] if workload.unit else [f"{rate:.4g} {unit}"]
    else:
        parts.append(own.get("reason", "not measured"))
    part, times, best = fraction(workload, row), ratio(row), best_peer(row)
    if part is not None:
        parts.append(f"{part:.0%} of peak")
    if times is not None and best is not None:
        parts.append(f"{times:.2f}x {best[0]} ({best[1]:.4g} {workload.unit or 'ms'})")
    return ", ".join(parts)


def text(results: Mapping[str, Any], names: Sequence[str]) -> str:
    """The Markdown of some workloads."""
    rows = {name: results["workloads"][name] for name in names}
    facts = results["facts"]
    lines = [
        "# tabgrad beside its peers",
        "",
        "Written by `make bench`. Milliseconds a time through: median (minimum) of slices that",
        "alternate between the contestants in one browser. One thread and a page without special",
        "headers, except in the columns that end in 2t. *of peak* is the part of a register-only",
        "loop of multiply-adds, or, where a workload only moves memory, of a plain copy, both",
        "measured in the same rounds; *times* is the best peer's median over tabgrad's.",
        "",
    ]
    groups = dict.fromkeys(workloads.ALL[name].group for name in rows)
    for group in groups:
        members = {n: row for n, row in rows.items() if workloads.ALL[n].group == group}
        lines += _table(group, members, results["workloads"])
    lines += misses.section(missed(results, names), misses.read())
    lines += _reasons(rows)
    lines += ["## Circumstances", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items() if name != "commit"]
    others = sorted({row["commit"] for row in rows.values()} - {facts.get("commit")})
    if others:
        older = ", ".join(others)
        lines.append(f"- some rows were measured at earlier commits: {older} (bench/results.json)")
    return "\n".join([*lines, ""])


def missed(results: Mapping[str, Any], names: Sequence[str] | None = None) -> dict[str, str]:
    """The workloads, by default all, that do not reach what is wanted: what, and by how much."""
    rows = results["workloads"]
    found = {}
    for name in rows if names is None else names:
        wanted = _wanted(workloads.ALL[name], rows[name], rows)
        parts = [part for part in wanted.split("; ") if "MISSED" in part]
        if parts:
            found[name] = "; ".join(parts)
    return found


def _table(group: str, rows: Mapping[str, Row], every: Mapping[str, Row]) -> list[str]:
    order = [each.name for each in contestants.ALL]
    present = {name for row in rows.values() for name in row["contestants"]}
    columns = [name for name in order if name in present]
    lines = [
        f"## {group}",
        "",
        f"| workload | rate | of peak | times | wanted | {' | '.join(columns)} |",
        f"| --- | ---: | ---: | ---: | ---: |{' ---: |' * len(columns)}",
    ]
    for name, row in rows.items():
        workload = workloads.ALL[name]
        own = row["contestants"].get("tabgrad", {})
        rate = "{:.4g} {}".format(*workload.rate(own["median"])) if "median" in own else "-"
        part, times = fraction(workload, row), ratio(row)
        cells = [
            name,
            rate,
            "-" if part is None else f"{part:.0%}",
            "-" if times is None else f"{times:.2f}",
            _wanted(workload, row, every) or "-",
            *(_cell(row["contestants"].get(column)) for column in columns),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _wanted(workload: Workload, row: Row, rows: Mapping[str, Row]) -> str:
    """What was asked for, and whether it was reached."""
    own = _own(row)
    parts = [
        _judged(f"{times:.3g} {library}", ratio(row, library), times)
        for library, times in workload.wanted.items()
    ]
    if workload.of_peak is not None:
        part = fraction(workload, row)
        parts.append(_judged(f"{workload.of_peak:.0%} of peak", part, workload.of_peak))
    if workload.either:
        reached = [part for part in parts if "MISSED" not in part]
        parts = reached[:1] or [" or ".join(parts)]
    if workload.at_most is not None and own:
        found = -own if own else None  # less is better
        text = f"at most {workload.at_most:g} {workload.unit or 'ms'}"
        parts.append(_judged(text, found, -workload.at_most))
    twice = _own(row, "tabgrad-2t")
    if workload.two_threads is not None:
        times = own / twice if own and twice else None
        text = f"{workload.two_threads:g} by a second thread"
        parts.append(_judged(text, times, workload.two_threads))
    for name, least in workload.beside:
        other = _own(rows[name]) if name in rows else None
        if own and other:
            found = workload.rate(own)[0] / workloads.ALL[name].rate(other)[0]
            parts.append(_judged(f"{least:.0%} of {name}", found, least))
    return "; ".join(parts)


def _own(row: Row, name: str = "tabgrad") -> float | None:
    median: float | None = row["contestants"].get(name, {}).get("median")
    return median


def _judged(text: str, found: float | None, least: float) -> str:
    if found is None:
        return f"{text}: unknown"
    value = f"{found:.0%}" if "%" in text else f"{abs(found):.3g}"
    return f"{text}: {value}" if found >= least else f"{text}: MISSED, {value}"


def _cell(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "-"
    if "median" not in found:
        return "none"
    return f"{found['median']:.4g} ({found['min']:.4g})"


def _reasons(rows: Mapping[str, Row]) -> list[str]:
    """Who has no figure, and why; together where it is the same."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, row in rows.items():
        for contestant, values in row["contestants"].items():
            if "reason" in values:
                found.setdefault((contestant, values["reason"]), []).append(name)
    if not found:
        return []
    lines = ["## Without a figure", ""]
    for (contestant, reason), names in found.items():
        lines.append(f"- {contestant}: {', '.join(names)}: {reason}")
    return [*lines, ""]


if __name__ == "__main__":
    # After a change of bench/misses.md, or of what is wanted.
    write(read())
