"""Every linter passes, so that whoever runs the tests has run them too."""

import subprocess

import pytest

from tools.lint import COMMANDS, ROOT


@pytest.mark.parametrize("name", COMMANDS)
def test_linter_passes(name, node_modules):
    done = subprocess.run(COMMANDS[name], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{name} found:\n{done.stdout}{done.stderr}"
