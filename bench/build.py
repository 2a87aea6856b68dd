"""Exports tabgrad's part of workloads: `python -m bench.build FOLDER NAME...`.

A program of its own, so that the bench can run it with another tree of tabgrad's sources first on
the path and set the two against each other.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from importlib.resources import as_file, files
from pathlib import Path

import tabgrad as tg
from bench import workloads


def copy_player(folder: Path) -> None:
    """The player of the tree that is on the path, where the folder has none yet."""
    player = folder / "player"
    if not player.exists():
        with as_file(files("tabgrad") / "player") as source:
            shutil.copytree(source, player)


def main(folder: Path, names: list[str]) -> None:
    copy_player(folder)
    for name in names:
        workload = workloads.ALL[name]
        functions = workload.functions(workload.arrays())
        with contextlib.redirect_stdout(io.StringIO()):  # the sizes of every file
            tg.export(functions, folder / workload.folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
