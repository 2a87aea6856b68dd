"""`python -m tabgrad serve` serves a folder."""

import subprocess
import sys
import urllib.request

import pytest


def test_serve(tmp_path):
    (tmp_path / "index.html").write_text("hello")
    command = [sys.executable, "-u", "-m", "tabgrad", "serve", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            address = next(word for word in line.split() if word.startswith("http://"))
            with urllib.request.urlopen(address, timeout=10) as answer:
                assert answer.read() == b"hello"
        finally:
            process.terminate()


def test_unknown_commands_are_refused(capsys):
    from tabgrad.__main__ import main

    with pytest.raises(SystemExit):
        main(["fly"])
    assert "serve" in capsys.readouterr().err
