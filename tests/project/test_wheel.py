"""The wheel holds everything the package needs, and nothing tied to a machine."""

import zipfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "tabgrad"


def test_runs_on_every_python_and_machine(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")


def test_holds_every_file_of_the_package(wheel):
    expected = {
        f"tabgrad/{path.relative_to(PACKAGE).as_posix()}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert inside == expected
    assert {name.rpartition(".")[2] for name in inside} >= {"py", "js", "html", "css"}


def test_asks_for_wasmtime_outside_the_browser_only(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = archive.read(name).decode().splitlines()
    needed = [
        line for line in metadata if line.startswith("Requires-Dist: ") and "extra ==" not in line
    ]
    (line,) = needed
    assert line.startswith("Requires-Dist: wasmtime") and "sys_platform != 'emscripten'" in line
