"""Joining ES modules into one script: Node must see the same exports as from the modules."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tabgrad.engines import javascript
from tabgrad.engines.page import MODULE
from tabgrad.errors import NotSupportedError

MODULES = {
    "app/main.js": """
// The entry: import { nothing } from "./nowhere.js" in a comment is no import.
import { double, NAME as name } from "../lib/math.js";
import {
  Counter,
} from "./counter.js";

const local = "import and export inside a string";
/** @typedef {import("./counter.js").Counter} Also */
export function main() {
  const counter = new Counter();
  counter.add(double(2));
  return [name, counter.total, local];
}
export async function later() { return 1; }
export let changing = 3;
""",
    "app/counter.js": """import {double} from '../lib/math.js'
export class Counter { total = 0; add(n) { this.total += double(n); } }
""",
    "lib/math.js": """
export const NAME = "math";
export const double = (x) => 2 * x;
const local = "another local of the same name";
""",
}


def test_values_are_those_of_the_modules(tmp_path: Path, node: str) -> None:
    for name, text in MODULES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    show = "console.log(JSON.stringify([Object.keys(m).sort(), m.main(), m.changing]))"
    script = javascript.script("app/main.js", MODULES.__getitem__)
    (tmp_path / "joined.cjs").write_text(f"const m = {script};\n{show}")
    (tmp_path / "modules.js").write_text(f'import * as m from "./app/main.js";\n{show}')
    joined, modules = (
        json.loads(subprocess.check_output([node, str(tmp_path / file)]))
        for file in ("joined.cjs", "modules.js")
    )
    assert joined == modules
    assert joined[1] == ["math", 8, "import and export inside a string"]


@pytest.mark.parametrize(
    "text",
    [
        'import thing from "./thing.js";',
        'import * as thing from "./thing.js";',
        'import "./thing.js";',
        "export default 1;",
        "export { a };",
        'export * from "./thing.js";',
    ],
)
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(NotSupportedError, match=r"a\.js: expected named imports"):
        javascript.script("a.js", {"a.js": text, "thing.js": ""}.__getitem__)


def test_a_circle_is_refused() -> None:
    modules = {"a.js": 'import { b } from "./b.js";', "b.js": 'import { a } from "./a.js";'}
    with pytest.raises(NotSupportedError, match=r"a\.js -> b\.js -> a\.js"):
        javascript.script("a.js", modules.__getitem__)


def test_the_page_engine_is_small() -> None:
    script = javascript.script(MODULE)
    assert "WasmEngine" in script
    assert len(script) < 30_000
