"""The README is true: its program runs as printed, and it names two set-up commands."""

import doctest
import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_program_runs_as_printed(tmp_path):
    (program,) = blocks("python")
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    prediction = re.search(r"\[\[ *([\d.]+)", done.stdout)
    assert prediction, done.stdout
    assert abs(float(prediction[1]) - 9) < 1.3  # from any initial weight
    assert (tmp_path / "site" / "index.html").is_file()


def test_the_session_answers_as_printed():
    (session,) = blocks("pycon")
    example = doctest.DocTestParser().get_doctest(session, {}, "README", "README.md", 0)
    assert len(example.examples) > 4
    assert doctest.DocTestRunner().run(example).failed == 0


def test_there_are_two_set_up_commands():
    (commands,) = blocks("sh")
    assert [line.split("#")[0].strip() for line in commands.splitlines()] == [
        "make demo",
        "make test",
    ]
