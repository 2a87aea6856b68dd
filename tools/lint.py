"""Runs every linter: ruff and mypy over the Python, tsc over the JavaScript's JSDoc types.

`make lint` starts it; tests/project/test_lint.py runs the same commands one by one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = {
    "ruff": [sys.executable, "-m", "ruff", "check", "--output-format", "concise", "."],
    "mypy": [sys.executable, "-m", "mypy"],
    "tsc": [str(ROOT / "node_modules" / ".bin" / "tsc"), "--project", "tsconfig.json"],
}


def main() -> int:
    failed = []
    for name, command in COMMANDS.items():
        print(f"{name}:", flush=True)
        if subprocess.run(command, cwd=ROOT).returncode != 0:
            failed.append(name)
    if failed:
        print(f"lint: {', '.join(failed)} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
