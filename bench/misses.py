"""Why rows of the table miss what is wanted of them: bench/misses.md, which people write.

A heading there names workloads, patterns separated by commas; below it stand a figure, a profile
and the experiment that shows the limit. `python -m bench.misses` prints what is still to be
written for bench/results.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from bench.site import ROOT

FILE = ROOT / "bench" / "misses.md"
FIELDS = ("figure", "profile", "experiment")


@dataclass(frozen=True)
class Reason:
    """One section: for which workloads, and what its items say."""

    patterns: tuple[str, ...]
    items: Mapping[str, str]

    def explains(self, workload: str) -> bool:
        return any(fnmatchcase(workload, pattern) for pattern in self.patterns)

    @property
    def lacking(self) -> list[str]:
        return [field for field in FIELDS if not self.items.get(field)]


def read(file: Path = FILE) -> list[Reason]:
    """The sections of the file, in order."""
    found: list[Reason] = []
    items: dict[str, str] = {}
    last = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            items, last = {}, ""
            patterns = tuple(each.strip() for each in line.removeprefix("## ").split(","))
            found.append(Reason(patterns, items))
        elif line.startswith("- ") and found:
            last, _, text = line.removeprefix("- ").partition(":")
            items[last] = text.strip()
        elif last and line.strip():
            items[last] = f"{items[last]} {line.strip()}".strip()
    return found


def unexplained(missed: Sequence[str], reasons: Sequence[Reason]) -> list[str]:
    """Those workloads that no section explains with all that it needs."""
    return [
        name
        for name in missed
        if not any(reason.explains(name) and not reason.lacking for reason in reasons)
    ]


def section(missed: Mapping[str, str], reasons: Sequence[Reason]) -> list[str]:
    """Lines for the table's file: every workload that misses, by what, and why."""
    if not missed:
        return []
    lines = ["## Misses", ""]
    for reason in reasons:
        those = [name for name in missed if reason.explains(name)]
        if those:
            lines += [f"### {', '.join(those)}", ""]
            lines += [f"- {name}: {missed[name]}" for name in those]
            lines += [f"- {field}: {text}" for field, text in reason.items.items()]
            lines.append("")
    rest = [name for name in missed if not any(reason.explains(name) for reason in reasons)]
    lines += [f"- {name}: {missed[name]}: no reason is written yet" for name in rest]
    return [*lines, ""] if rest else lines


def main() -> None:
    from bench import report

    missed = report.missed(report.read())
    for name in unexplained([*missed], read()):
        print(f"## {name}\n\n- figure: {missed[name]}\n- profile: \n- experiment: \n")


if __name__ == "__main__":
    main()
