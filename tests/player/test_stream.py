"""Weights too large to be handed over: read piece by piece, in every place and out of any order."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tabgrad import dtypes
from tabgrad.formats.safetensors import Array, dumps
from tests.player.conftest import STRICT
from tests.player.linear import write_bare_model

LARGE = np.random.default_rng(3).standard_normal(1_100_003, np.float32)  # 4.4 MB
SUMS = """
    const { big, "linear/kernel": kernel } = await model.weights();
    let [sum, at] = [0, 0];
    for (const x of big.data) sum += x * (++at % 1009);
    answer = { length: big.data.length, sum, kernel: kernel.data[0], worker: model.worker };
"""
IN_PAGE = f"""async ({{ worker }}) => {{
    const {{ load }} = await import("/player/tabgrad.js");
    try {{
        const model = await load("model/model.json", {{ worker }});
        let answer;
        {SUMS}
        model.dispose();
        return answer;
    }} catch ({{ code, message }}) {{
        return {{ code, message }};
    }}
}}"""


def write(folder: Path, *, padding: int = 0, second: bool = False) -> Path:
    """The linear model with one large variable, whose file comes last or first; the large file."""
    path = write_bare_model(folder)
    model = json.loads(path.read_text())
    big = {"big": Array(LARGE.shape, dtypes.float32, LARGE.tobytes())}
    described = {"name": "big", "shape": list(LARGE.shape), "dtype": "float32"}
    rest = {"trainable": True, "role": "weight", "zero": False}
    model["variables"].append({**described, **rest})
    file = folder / "big.safetensors"
    file.write_bytes(dumps(big, {"padding": " " * padding}))
    part = {"file": file.name, "nbytes": file.stat().st_size}
    model["weights"] = [part, *model["weights"]] if second else [*model["weights"], part]
    path.write_text(json.dumps(model))
    return file


def check(found: dict[str, Any]) -> None:
    expected = math.fsum(np.float64(LARGE) * ((np.arange(LARGE.size) + 1) % 1009))
    assert found["length"] == LARGE.size, found
    assert found["sum"] == pytest.approx(expected, rel=1e-12)
    assert found["kernel"] == 0.5


# What Safari, and others until lately, answer: their bodies cannot be read into a given buffer.
NO_BYTE_STREAMS = """
    const { getReader } = ReadableStream.prototype;
    ReadableStream.prototype.getReader = function (options) {
      if (options) throw new TypeError("no byte stream");
      return getReader.call(this);
    };
"""


@pytest.mark.parametrize("worker", [True, False], ids=["worker", "main"])
@pytest.mark.parametrize("script", ["", NO_BYTE_STREAMS], ids=["bytes", "plain"])
def test_in_chromium(page, site_server, model_folder, worker, script):
    # A header longer than a piece.
    write(model_folder / "model", padding=3 << 20, second=worker)
    page.add_init_script(script)
    if script and worker:
        body = f"{script}\nawait import('/player/tabgrad/worker.js');"
        page.route("**/first.js", lambda r: r.fulfill(body=body, content_type="text/javascript"))
        page.add_init_script(
            "const Plain = Worker; Worker = class extends Plain {"
            " constructor(_, options) { super('/first.js', options); } };"
        )
    page.goto(f"{site_server(model_folder, STRICT)}empty.html")
    found = page.evaluate(IN_PAGE, {"worker": worker})
    check(found)
    assert found["worker"] == worker


def test_in_node(javascript, tmp_path):
    write(tmp_path)
    code = """
        const { load } = await import(player + "/../tabgrad.js");
        const model = await load(value);
    """
    check(javascript(code + SUMS, (tmp_path / "model.json").as_uri()))


@pytest.mark.parametrize("kind", ["bytes", "plain"])
def test_pieces_end_with_words_wherever_those_of_the_network_end(javascript, tmp_path, kind):
    """GPUs copy whole words: a piece that ends within one could not be written there."""
    file = write(tmp_path)
    code = """
        const { readFile } = await import("node:fs/promises");
        const { fill } = await import(player + "/stream.js");
        const bytes = new Uint8Array(await readFile(value.path));
        const lengths = [1, 3, 65_537, 2, 7, 1_000_001];
        globalThis.fetch = async () => {
          let [at, turn] = [0, 0];
          const pull = (controller) => {
            const length = lengths[turn++ % lengths.length];
            controller.enqueue(bytes.slice(at, at + length));
            at += length;
            if (at >= bytes.length) controller.close();
          };
          const type = value.kind === "bytes" ? "bytes" : undefined;
          return new Response(new ReadableStream({ type, pull }));
        };
        const big = { spec: { name: "big" }, handle: 1 };
        const whole = new Uint8Array(value.nbytes);
        const odd = [];
        await fill({
          empty: new Set([big]),
          choose: () => new Set([big]),
          engine: {
            write(_, piece, offset) {
              whole.set(piece, offset);
              const end = offset + piece.length;
              if (offset % 4 || (end % 4 && end < whole.length)) odd.push([offset, end]);
            },
          },
        }, { parts: [value.part], base: "http://localhost/" });
        let [sum, at] = [0, 0];
        for (const x of new Float32Array(whole.buffer)) sum += x * (++at % 1009);
        answer = { odd, sum };
    """
    part = {"file": file.name, "nbytes": file.stat().st_size}
    value = {"part": part, "path": str(file), "nbytes": LARGE.nbytes, "kind": kind}
    found = javascript(code, value)
    expected = math.fsum(np.float64(LARGE) * ((np.arange(LARGE.size) + 1) % 1009))
    assert found["odd"] == []
    assert found["sum"] == pytest.approx(expected, rel=1e-12)


@pytest.fixture
def load(page, site_server, model_folder):
    page.goto(f"{site_server(model_folder, STRICT)}empty.html")
    return lambda: page.evaluate(IN_PAGE, {"worker": True})


def test_damaged_files(load, model_folder):
    file = write(model_folder / "model")
    whole = file.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for content, code, words in (
        (whole[:-1], "truncated", f"has {len(whole) - 1} bytes, model.json says {len(whole)}"),
        (whole + b"!", "corrupt", f"has {len(whole) + 1} bytes"),
        (whole[: header // 2], "truncated", "bytes, model.json says"),
        (b"", "truncated", "has 0 bytes"),
        (b"\xff" * len(whole), "truncated", "its header should end at byte"),
        (b" " * len(whole), "truncated", "its header should end at byte"),
        (whole[:8] + b"x" * (len(whole) - 8), "corrupt", "its header is not JSON"),
        (whole.replace(b"[1100003]", b"[1100004]"), "corrupt", '"big" is described as'),
        (whole.replace(b'"big"', b'"bag"'), "weights", '"big" is missing'),
    ):
        file.write_bytes(content)
        error = load()
        assert error.get("code") == code, (words, error)
        assert words in error["message"] and "big.safetensors" in error["message"]
    file.unlink()
    error = load()
    assert error["code"] == "missing_file" and "404" in error["message"]


def test_a_file_that_a_cache_had_is_read_again(page, load, model_folder):
    file = write(model_folder / "model")
    kinds = []

    def answer(route):
        kinds.append(route.request.headers.get("cache-control"))
        if len(kinds) == 1:
            route.fulfill(body=file.read_bytes()[:-400])
        else:
            route.continue_()

    page.route("**/big.safetensors", answer)
    check(load())
    assert len(kinds) == 2
