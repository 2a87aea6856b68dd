"""Running JavaScript in Node."""

from __future__ import annotations

import json
import subprocess
from typing import Any


def run_module(node: str, code: str, sent: Any) -> Any:
    """What the code of an ES module leaves in `answer`; `sent` is there the given JSON.

    `readFileSync` is there as well. Anything that the module writes to its error stream fails.
    """
    program = f"""
        import {{ readFileSync }} from "node:fs";
        const sent = JSON.parse(readFileSync(0, "utf-8"));
        let answer;
        {code}
        console.log(JSON.stringify(answer));
    """
    done = subprocess.run(
        [node, "--input-type=module", "--eval", program],
        input=json.dumps(sent),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr, done.stderr
    return json.loads(done.stdout)
