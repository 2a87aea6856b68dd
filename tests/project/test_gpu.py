"""Finding an adapter for the GPU engine: the machine's own, or the one beside the browser."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools import gpu

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Linux machine without drivers and browsers."""
    for name in gpu.CHOICES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(gpu, "DRIVER_FOLDERS", ())
    monkeypatch.setattr(gpu, "BROWSER_FOLDERS", ())
    monkeypatch.setattr(gpu, "find_browser", lambda: None)


@pytest.mark.usefixtures("bare")
def test_what_is_missing_is_said() -> None:
    with pytest.raises(
        gpu.NoAdapterError, match=r"expected a Vulkan driver.*found neither.*apt-get"
    ):
        gpu.provide_adapter()


@pytest.mark.usefixtures("bare")
def test_drivers_that_the_user_names_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VK_DRIVER_FILES", "/some/driver.json")
    gpu.provide_adapter()


@pytest.mark.usefixtures("bare")
def test_the_driver_beside_a_browser_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "browser"
    for path in (program, tmp_path / gpu.LOADER, tmp_path / gpu.DRIVER):
        path.write_text("")
    program.chmod(0o755)
    link = tmp_path / "bin"
    link.mkdir()
    (link / "chromium").symlink_to(program)
    monkeypatch.setattr(gpu, "find_browser", lambda: str(link / "chromium"))
    assert gpu.find_software_driver() == tmp_path


def test_two_processes_compute_at_the_same_time() -> None:
    code = (
        "from tools.gpu import provide_adapter; provide_adapter()\n"
        "import tabgrad as tg; tg.set_engine('webgpu')\n"
        "for n in range(20): assert float(tg.sum(tg.ones((n + 1, 300)))) == 300 * (n + 1)\n"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    both = [
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [(one.communicate()[1], one.returncode) for one in both] == [("", 0)] * 2
