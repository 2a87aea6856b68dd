"""`tg.export(..., engines=...)`: for which engines of GPUs an export holds kernels."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tabgrad as tg
from tabgrad.errors import ArgumentError, NotSupportedError

L = tg.layers


def small() -> tg.Sequential:
    model = tg.Sequential([tg.Input((3,)), L.Dense(4, "relu"), L.Dense(1)])
    model.compile("adam", "mean_squared_error")
    return model


def large() -> tg.Sequential:
    """A hundred million operations a call and a few more."""
    return tg.Sequential([tg.Input((1250,)), L.Dense(1280, use_bias=False)])


def described(folder: Path) -> Any:
    return json.loads((folder / "model.json").read_text())


def test_small_models_get_no_kernels_for_gpus(tmp_path: Path) -> None:
    site = tg.export(small(), tmp_path)
    assert described(tmp_path)["programs"].keys() == {"wasm"}
    assert not site.notes
    assert not [path for path in site.sizes if "gpu" in path or "webgl" in path]
    assert "tabgrad/relay.js" not in site.sizes


def test_large_models_get_them(tmp_path: Path) -> None:
    tg.export(large(), tmp_path, batch_sizes=[32])
    programs = described(tmp_path)["programs"]
    assert programs.keys() == {"wasm", "webgpu", "webgl"}
    assert [each["features"] for each in programs["webgl"]] == [["draw-buffers-8"], []]
    tg.export(large(), tmp_path / "same", batch_sizes=[32], deterministic=True)
    assert described(tmp_path / "same")["programs"].keys() == {"wasm"}


def test_engines_that_are_asked_for(tmp_path: Path) -> None:
    model = tg.Sequential([tg.Input((96,)), L.Dense(64), L.Dense(96)])
    model.compile("adam", "mean_squared_error")
    site = tg.export(model, tmp_path, [64], engines=["webgl", "webgpu"])
    written = described(tmp_path)
    programs = written["programs"]
    assert {kind: [each["features"] for each in some] for kind, some in programs.items()} == {
        "wasm": [["relaxed-simd"], []],
        "webgpu": [["cooperative", "subgroups"], ["cooperative"], []],
        "webgl": [[]],  # so small that it makes no difference to how many textures one can draw
    }
    for kind in ("webgpu", "webgl"):
        for program in programs[kind]:
            content = (tmp_path / program["file"]).read_bytes()
            assert len(content) == program["nbytes"] == site.sizes[program["file"]][0]
            assert hashlib.sha256(content).hexdigest().startswith(program["hash"])
            document = json.loads(content)
            for entry, data in zip(document["entries"], document["data"], strict=True):
                sizes = [np.dtype(name).itemsize for name in entry["constants"]]
                found = [len(base64.b64decode(text)) for text in data]
                assert len(found) == len(sizes)
                assert not any(n % size for n, size in zip(found, sizes, strict=True))
            assert len(document["entries"]) == len(written["entries"])
    one = tg.export(small(), tmp_path / "one", [4], engines=["wasm", "webgl"])
    assert described(one.folder)["programs"].keys() == {"wasm", "webgl"}
    assert one.sizes["kernels.webgl.json"][0] > 1_000


def test_models_with_float16_get_kernels_for_devices_that_have_it(tmp_path: Path) -> None:
    """A device with shader-f16 takes the first that it can run, which must be of its own."""
    product = tg.compile(lambda x, y: tg.exp(x @ y))
    product(tg.ones((64, 64), dtype="float16"), tg.ones((64, 64), dtype="float16"))
    site = tg.export({"product": product}, tmp_path, engines=["webgl", "webgpu"])
    programs = described(tmp_path)["programs"]
    assert [each["features"] for each in programs["webgpu"]] == [
        ["cooperative", "shader-f16"],
        ["shader-f16"],
        ["cooperative"],
        [],
    ]
    assert not any("shader-f16" in each["features"] for each in programs["webgl"])
    for program in programs["webgpu"]:
        kernels = json.loads((tmp_path / program["file"]).read_text())["kernels"]
        halves = "shader-f16" in program["features"]
        assert {kernel["code"].startswith("enable f16;") for kernel in kernels} == {halves}
    assert "tabgrad/halves.js" in site.sizes
    other = tg.export(small(), tmp_path / "other", [4], engines=["webgpu"])
    assert "tabgrad/webgpu.js" in other.sizes and "tabgrad/halves.js" not in other.sizes
    assert not any("f16" in path for path in other.sizes)


def test_folds_get_kernels_for_devices_with_subgroups(tmp_path: Path) -> None:
    """Kernels of features that make no difference are not written a second time."""
    rows = tg.compile(lambda x: tg.exp(x.sum(axis=1)))
    rows(tg.ones((3, 64)))
    tg.export({"rows": rows}, tmp_path, engines=["webgpu"])
    programs = described(tmp_path)["programs"]["webgpu"]
    assert [each["features"] for each in programs] == [
        ["cooperative", "subgroups"],
        ["cooperative"],
        [],
    ]
    for program in programs:
        kernels = json.loads((tmp_path / program["file"]).read_text())["kernels"]
        asking = any(kernel["code"].startswith("enable subgroups;") for kernel in kernels)
        assert asking == ("subgroups" in program["features"])
    halves = tg.compile(lambda x: x.max(axis=1))
    halves(tg.ones((3, 64), dtype="float16"))
    site = tg.export({"halves": halves}, tmp_path / "halves", engines=["webgpu"])
    programs = described(site.folder)["programs"]["webgpu"]
    assert [each["features"] for each in programs] == [
        ["cooperative", "subgroups", "shader-f16"],
        ["cooperative", "shader-f16"],
        ["cooperative", "subgroups"],
        ["shader-f16"],
        ["cooperative"],
        [],
    ]


def wide() -> tg.Model:
    @tg.compile
    def summed(x: Any) -> Any:
        return tg.sum(x.astype("float64") @ x.astype("float64").T).astype("float32")

    summed(tg.ones((400, 400)))
    return {"summed": summed}


def test_what_a_gpu_cannot_run_is_named(tmp_path: Path, capsys: Any) -> None:
    site = tg.export(wide(), tmp_path)
    assert described(tmp_path)["programs"].keys() == {"wasm"}
    assert [note.split(":")[0] for note in site.notes] == [
        "no kernels for webgpu",
        "no kernels for webgl",
    ]
    assert "float64" in site.notes[0]
    assert site.notes[0] in capsys.readouterr().out
    for kind in ("webgpu", "webgl"):
        with pytest.raises(NotSupportedError, match="float64"):
            tg.export(wide(), tmp_path, engines=[kind])


def test_arguments(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="received 'webgpu'"):
        tg.export(small(), tmp_path, engines="webgpu")
    with pytest.raises(ArgumentError, match="jax"):
        tg.export(small(), tmp_path, engines=["jax"])
    with pytest.raises(ArgumentError, match="deterministic=True with engines=\\['wasm'\\]"):
        tg.export(small(), tmp_path, engines=["webgpu"], deterministic=True)
    site = tg.export(small(), tmp_path, [4], engines=["wasm"], deterministic=True)
    assert "kernels.wasm" in site.sizes
