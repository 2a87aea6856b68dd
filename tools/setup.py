"""Makes this checkout ready for `make demo`, `make test`, `make lint` or `make bench`.

Started by tools/setup.sh with the standard library alone. Checks what the machine must have before
it installs anything, then fills .venv and node_modules. Each installation leaves a stamp with a
hash of what it came from, so that a second run only compares hashes.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tools.browser import HOW_TO_INSTALL, NoBrowserError, find_browser

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMPS = VENV  # so that they go when the environment goes
CONSTRAINTS = ROOT / "tools" / "constraints.txt"
# The Pythons for which the versions in constraints.txt were chosen.
NEWEST_CONSTRAINED_PYTHON = (3, 14)
OLDEST_NODE = 20


@dataclass(frozen=True)
class Needs:
    """What one make target needs on the machine."""

    extra: str  # of pyproject.toml's optional dependencies
    node: bool  # Node, and the npm packages of package.json
    browser: str  # "no", "wanted" (goes on without one) or "required"
    peers: bool = False  # the libraries that the bench compares with, in bench/package.json


TARGETS = {
    "demo": Needs(extra="demo", node=False, browser="wanted"),
    "test": Needs(extra="dev", node=True, browser="required"),
    "lint": Needs(extra="dev", node=True, browser="no"),
    "bench": Needs(extra="bench", node=False, browser="required", peers=True),
}


class SetupError(Exception):
    """Something is missing that only the user can supply; the message is the one line to print."""


def say(message: str) -> None:
    print(f"tabgrad: {message}", flush=True)


def run(*command: str | Path, env: dict[str, str] | None = None) -> None:
    """Runs a command for its effect; its own words on stderr explain a failure."""
    done = subprocess.run(
        command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    if done.returncode != 0:
        raise SetupError(f"this command failed: {' '.join(map(str, command))}")


def check_node() -> None:
    remedy = (
        "Debian: sudo apt-get install -y npm && sudo npm install -g n && sudo n 22; "
        "macOS: brew install node"
    )
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        missing = "node" if node is None else "npm"
        raise SetupError(f"needs Node >= {OLDEST_NODE} and found no `{missing}`; {remedy}")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
    major = re.match(r"v(\d+)\.", version)
    if major is None or int(major[1]) < OLDEST_NODE:
        raise SetupError(f"needs Node >= {OLDEST_NODE} and found {version or node}; {remedy}")


def can_install_browser() -> bool:
    """Whether this is root on Debian, where Chromium is one quiet package away."""
    return (
        hasattr(os, "geteuid")
        and os.geteuid() == 0
        and shutil.which("apt-get") is not None
        and platform.system() == "Linux"
        and platform.freedesktop_os_release().get("ID") == "debian"
    )


def provide_browser(needed: bool) -> None:
    """Installs Chromium where that can be done; elsewhere says in one line how to get it."""
    try:
        if find_browser() is not None:
            return
    except NoBrowserError as error:
        raise SetupError(str(error)) from None
    if can_install_browser():
        say("found no Chromium-family browser: installing Debian's chromium (apt-get, as root)")
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "-qq", "update", env=env)
        # Chromium draws the pages' text with whatever fonts there are, and a bare Debian has none.
        packages = ("chromium", "fonts-dejavu-core")
        run("apt-get", "-qq", "-y", "--no-install-recommends", "install", *packages, env=env)
        return
    message = f"found no Chromium-family browser; {HOW_TO_INSTALL}"
    if needed:
        raise SetupError(message)
    say(message)


def stamp_is_current(stamp: Path, digest: str) -> bool:
    return stamp.exists() and stamp.read_text() == digest


def digest_of(*parts: Path | str) -> str:
    """A hash of files' contents and of strings."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def install_python_packages(extra: str) -> None:
    """Fills .venv with this checkout (editable) and the packages of `extra`."""
    if Path(sys.prefix).resolve() != VENV.resolve():
        say(f"making .venv with Python {platform.python_version()}")
        run(sys.executable, "-m", "venv", "--clear", VENV)
    # The checkout's path counts, because an editable install points to it.
    source = (ROOT / "pyproject.toml", CONSTRAINTS, str(ROOT), platform.python_version())
    stamps = {name: STAMPS / f".tabgrad-{name}" for name in ("demo", "bench", "dev")}
    # "dev" holds everything that the others do.
    for name in dict.fromkeys((extra, "dev")):
        if stamp_is_current(stamps[name], digest_of(*source, name)):
            return
    say(f"installing Python packages into .venv (the extra [{extra}]; a minute the first time)")
    pip = (VENV / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--no-input")
    options: list[str | Path] = ["-qq", "--editable", f".[{extra}]"]
    if sys.version_info[:2] <= NEWEST_CONSTRAINED_PYTHON:
        options += ["--constraint", CONSTRAINTS]
    run(*pip, "install", *options)
    stamps[extra].write_text(digest_of(*source, extra))


def install_npm_packages(part: str = "") -> None:
    """Fills node_modules, of this checkout or a part, with what its package-lock.json names."""
    folder = ROOT / part
    digest = digest_of(folder / "package-lock.json", folder / "package.json")
    stamp = folder / "node_modules" / ".tabgrad"
    if stamp_is_current(stamp, digest):
        return
    say(f"installing npm packages into {stamp.parent.relative_to(ROOT)}")
    run("npm", "ci", f"--prefix={folder}", "--loglevel=error", "--no-progress")
    stamp.write_text(digest)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in TARGETS:
        print(f"usage: sh tools/setup.sh {'|'.join(TARGETS)}", file=sys.stderr)
        return 2
    needs = TARGETS[arguments[0]]
    try:
        if needs.node or needs.peers:
            check_node()
        if needs.browser != "no":
            provide_browser(needed=needs.browser == "required")
        install_python_packages(needs.extra)
        if needs.node:
            install_npm_packages()
        if needs.peers:
            install_npm_packages("bench")
    except SetupError as error:
        print(f"tabgrad: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
