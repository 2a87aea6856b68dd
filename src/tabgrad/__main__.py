"""The command line: `python -m tabgrad serve FOLDER` serves exported pages to look at."""

from __future__ import annotations

import argparse

from tabgrad.web.serve import serve


def main(arguments: list[str] | None = None) -> None:
    """Run the command that `arguments` (by default those of the process) name."""
    parser = argparse.ArgumentParser(prog="python -m tabgrad", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve", help="serve a folder of exported pages on this machine")
    serving.add_argument("folder", nargs="?", default="site")
    serving.add_argument("--port", type=int, default=8000)
    chosen = parser.parse_args(arguments)
    serve(chosen.folder, port=chosen.port)


if __name__ == "__main__":
    main()
