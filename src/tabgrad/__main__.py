"""The command line: `tabgrad doctor` looks at this machine, `tabgrad serve FOLDER` serves pages."""

from __future__ import annotations

import argparse
import json

from tabgrad.web.serve import serve


def main(arguments: list[str] | None = None) -> None:
    """Run the command that `arguments` (by default those of the process) name."""
    parser = argparse.ArgumentParser(prog="tabgrad", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve", help="serve a folder of exported pages on this machine")
    serving.add_argument("folder", nargs="?", default="site")
    serving.add_argument("--port", type=int, default=8000)
    looking = commands.add_parser(
        "doctor", help="which engines this machine has, what they can do and how fast they are"
    )
    looking.add_argument("--json", action="store_true", help="print JSON instead of text")
    looking.add_argument(
        "--page", metavar="FOLDER", help="write doctor.html there, which looks at a browser"
    )
    looking.add_argument("--engine", help=argparse.SUPPRESS)  # what each engine's process does
    chosen = parser.parse_args(arguments)
    if chosen.command == "serve":
        serve(chosen.folder, port=chosen.port)
    elif chosen.page is not None:
        from tabgrad.web.doctor import write_page

        print(write_page(chosen.page))
        print(f"To look at it: tabgrad serve {chosen.page}, then open doctor.html there")
    else:
        _doctor(chosen.engine, chosen.json)


def _doctor(engine: str | None, as_json: bool) -> None:
    from tabgrad import doctor

    if engine is not None:
        print(json.dumps(doctor.alone(engine)))
        return
    found = doctor.report()
    print(json.dumps(found, indent=2) if as_json else doctor.text(found))


if __name__ == "__main__":
    main()
