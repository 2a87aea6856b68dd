"""A Session: what a run that fails leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tabgrad as tg

# The third run changes its variable and then fails, as where a thread is lost.
CODE = """
    const { fetchModel } = await import(player + "/files.js");
    const { openSession } = await import(player + "/session.js");
    const files = await fetchModel(new URL(value), "wasm", () => undefined);
    const session = await openSession(files, () => undefined);
    const held = () => Array.from(new Float32Array(session.bytes(session.variable("held")).buffer));
    const run = () => session.run({ name: "count", inputs: {}, rows: 0 });
    const after = [];
    for (let i = 0; i < 2; i++) {
      await run();
      after.push(held());
    }
    const { engine } = session;
    const whole = engine.run;
    let reached;
    engine.run = (...words) => {
      whole.apply(engine, words);
      reached = held();
      throw new Error("a thread was lost");
    };
    const error = await run().catch(({ message }) => message);
    engine.run = whole;
    const restored = held();
    await run();
    answer = { after, reached, error, restored, then: held() };
"""


def test_a_run_that_fails_leaves_what_the_run_before_left(
    javascript: Callable[..., Any], tmp_path: Path
) -> None:
    held = tg.Variable(tg.tensor([1.0, 2.0]), name="held")

    @tg.compile
    def count() -> tg.Tensor:
        held.assign(held * 2)
        return tg.sum(held.value)

    count()
    held.assign(tg.tensor([1.0, 2.0]))
    tg.export({"count": count}, tmp_path)
    found = javascript(CODE, (tmp_path / "model.json").as_uri())
    assert found["after"] == [[2, 4], [4, 8]]
    assert found["reached"] == [8, 16]
    assert found["error"] == "a thread was lost"
    assert found["restored"] == [4, 8]
    assert found["then"] == [8, 16]
