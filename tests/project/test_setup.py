"""`make` in an empty environment: what is missing is said in one line that names the command.

Each test runs the real Makefile and tools in a copy of the checkout's tools, with a PATH that
holds only what the test puts there. Nothing here touches the network.
"""

import os
import platform
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tools import setup

ROOT = Path(__file__).resolve().parents[2]
MAKE = shutil.which("make")


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "package.json", "package-lock.json"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def programs(tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def add_program(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def add_python(folder, sitecustomize=""):
    """A `python3` on the fake PATH that runs `sitecustomize` before anything else."""
    hooks = folder.parent / "hooks"
    hooks.mkdir()
    hooks.joinpath("sitecustomize.py").write_text(sitecustomize)
    add_program(folder, "python3", f'PYTHONPATH="{hooks}" exec "{sys.executable}" "$@"')


def make(target, checkout, programs):
    """Runs make with an empty environment; returns its exit status and lines, less make's own."""
    home = checkout.parent / "home"
    home.mkdir(exist_ok=True)
    done = subprocess.run(
        [MAKE, target],
        cwd=checkout,
        env={"PATH": str(programs), "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = [line for line in done.stdout.splitlines() if not line.startswith("make: ")]
    return done.returncode, lines


@pytest.mark.parametrize("target", ["demo", "test"])
def test_without_python(target, checkout, programs):
    status, lines = make(target, checkout, programs)
    assert status != 0
    assert lines == [
        "tabgrad: needs Python >= 3.11 and found none; "
        "Debian: sudo apt-get install -y python3 python3-venv; macOS: brew install python"
    ]


@pytest.mark.parametrize("target", ["demo", "test"])
def test_with_an_old_python(target, checkout, programs):
    add_python(programs, "import sys\nsys.version_info = (3, 9, 2, 'final', 0)\n")
    status, lines = make(target, checkout, programs)
    assert status != 0
    assert lines == [
        "tabgrad: needs Python >= 3.11 and found 3.9; "
        "Debian: sudo apt-get install -y python3 python3-venv; macOS: brew install python"
    ]


def test_with_a_python_without_venv(checkout, programs):
    add_python(programs, "import sys\nsys.modules['ensurepip'] = None\n")
    status, lines = make("demo", checkout, programs)
    version = "{}.{}".format(*sys.version_info[:2])
    assert status != 0
    assert lines == [
        f"tabgrad: Python {version} is here without its venv module; "
        f"Debian: sudo apt-get install -y python{version}-venv; macOS: brew install python"
    ]


def test_a_newer_python_beside_an_old_one_is_found(checkout, programs):
    add_python(programs, "import sys\nsys.version_info = (3, 9, 2, 'final', 0)\n")
    add_program(programs, "python3.13", f'exec "{sys.executable}" "$@"')
    status, lines = make("test", checkout, programs)
    assert status != 0
    assert [line.split(";")[0] for line in lines] == [
        "tabgrad: needs Node >= 20 and found no `node`"
    ]


def test_without_node(checkout, programs):
    add_python(programs)
    status, lines = make("test", checkout, programs)
    assert status != 0
    assert lines == [
        "tabgrad: needs Node >= 20 and found no `node`; "
        "Debian: sudo apt-get install -y npm && sudo npm install -g n && sudo n 22; "
        "macOS: brew install node"
    ]


def test_with_an_old_node(checkout, programs):
    add_python(programs)
    add_program(programs, "node", "echo v18.19.0")
    add_program(programs, "npm", "exit 1")
    status, lines = make("test", checkout, programs)
    assert status != 0
    assert len(lines) == 1
    assert lines[0].startswith("tabgrad: needs Node >= 20 and found v18.19.0; Debian: sudo ")


def test_a_browser_that_is_set_but_missing(monkeypatch, capsys):
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    assert setup.main(["demo"]) == 1
    assert capsys.readouterr().err == (
        "tabgrad: CHROMIUM is set to '/nowhere/chromium', which is not a program\n"
    )


@pytest.fixture
def no_browser(monkeypatch, programs):
    """A machine without a browser, where every step after looking for one does nothing."""
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr("tools.browser.MAC_APPLICATIONS", ())
    monkeypatch.setattr(setup, "check_node", lambda: None)
    monkeypatch.setattr(setup, "install_python_packages", lambda extra: None)
    monkeypatch.setattr(setup, "install_npm_packages", lambda: None)


@pytest.mark.parametrize(("target", "status"), [("demo", 0), ("test", 1)])
def test_without_a_browser_elsewhere(target, status, no_browser, monkeypatch, capsys):
    """The demo goes on without a browser; the tests do not leave anything out silently."""
    monkeypatch.setattr(setup, "can_install_browser", lambda: False)
    assert setup.main([target]) == status
    printed = capsys.readouterr()
    (line,) = (printed.out + printed.err).splitlines()
    assert line.startswith("tabgrad: found no Chromium-family browser; Debian: sudo apt-get ")
    assert "macOS: brew install --cask google-chrome" in line


def test_without_a_browser_as_root_on_debian(no_browser, programs, monkeypatch, capsys):
    log = programs.parent / "apt.log"
    add_program(programs, "apt-get", f'echo "$DEBIAN_FRONTEND $@" >> "{log}"; echo noise')
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "debian"})
    assert setup.main(["demo"]) == 0
    update, install = log.read_text().splitlines()
    assert update.startswith("noninteractive ") and update.endswith(" update")
    assert install.startswith("noninteractive ") and " install chromium" in install
    assert capsys.readouterr().out.splitlines() == [
        "tabgrad: found no Chromium-family browser: installing Debian's chromium (apt-get, as root)"
    ]


def test_a_second_run_installs_nothing(monkeypatch, tmp_path):
    """What a first run installed is installed again only when what it came from has changed."""
    commands = []
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "VENV", Path(sys.prefix))
    monkeypatch.setattr(setup, "run", lambda *command: commands.append(command))
    monkeypatch.setattr(setup, "STAMPS", tmp_path)
    tmp_path.joinpath("node_modules").mkdir()
    for name in ("pyproject.toml", "package.json", "package-lock.json"):
        shutil.copy(ROOT / name, tmp_path)

    def set_up():
        commands.clear()
        setup.install_python_packages("demo")
        setup.install_npm_packages()
        return len(commands)

    assert set_up() == 2
    assert set_up() == 0
    with tmp_path.joinpath("pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert set_up() == 1
    assert set_up() == 0
    setup.install_python_packages("dev")
    assert set_up() == 0, "the packages for the tests hold those for the demo"
