"""`tg.export`: what it writes and prints, and the pages it makes of real models."""

from __future__ import annotations

import gzip
import json
from urllib.parse import urlsplit

import numpy as np
import pytest

import tabgrad as tg
from examples import digits as digits_example
from tabgrad.errors import ArgumentError

XS = np.array([[1], [2], [3], [4]], np.float32)
YS = 2 * XS - 1


@pytest.fixture(scope="module")
def seed(tmp_path_factory):
    """The seed program's model, trained, and its exported page."""
    tg.random.seed(0)
    model = tg.Sequential([tg.Input((1,)), tg.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mean_squared_error")
    model.fit(XS, YS, epochs=100, verbose=0)
    folder = tmp_path_factory.mktemp("seed") / "site"
    tg.export(model, folder, title="The seed", data=(XS, YS))
    return model, folder


def described(folder):
    return json.loads((folder / "model.json").read_text())


def test_prints_what_it_wrote(tmp_path, capsys):
    model = tg.Sequential([tg.Input((2,)), tg.layers.Dense(3)])
    site = tg.export(model, tmp_path / "page")
    printed = capsys.readouterr().out
    assert printed == f"{site}\n"
    for path in tmp_path.joinpath("page").rglob("*"):
        if path.is_file():
            name = path.relative_to(tmp_path / "page").as_posix()
            raw, packed = site.sizes[name]
            assert raw == path.stat().st_size
            assert f"{name} " in printed and f"{raw:,} bytes" in printed
            assert packed == len(gzip.compress(path.read_bytes(), 9))


def test_the_page_of_the_seed_program(visit, seed):
    model, folder = seed
    page = visit(folder)
    assert page.title() == "The seed"
    expected = float(model.predict(np.array([[5.0]]))[0, 0])
    page.get_by_label("x", exact=True).fill("5")
    page.click("text=Predict")
    page.locator(".value", has_text=f"{expected:.4g}").wait_for()
    page.fill("#epochs", "1000")
    page.click("#train")
    page.locator("#train:not([disabled])").wait_for()
    page.locator(".value", has_text="9").wait_for()


def test_the_code_of_the_seed_page_is_at_most_25_kb(visit, seed):
    """Every file fetched to load the page, predict and train, but weights and data."""
    _, folder = seed
    page = visit(folder)
    page.click("text=Predict")
    page.click("#train")
    page.locator("#train:not([disabled])").wait_for()
    paths = {urlsplit(url).path.lstrip("/") or "index.html" for url in visit.requests}
    assert {"tabgrad.js", "tabgrad/session.js", "page.js", "page.css", "model.json"} <= paths
    sizes = {
        path: len(gzip.compress((folder / path).read_bytes(), 9))
        for path in paths
        if not path.endswith(".safetensors")
    }
    print(sizes)
    assert sum(sizes.values()) <= 25_000


def test_batch_sizes(tmp_path, seed):
    model, folder = seed
    entries = described(folder)["entries"]
    assert {(entry["name"], entry["rows"]) for entry in entries} == {
        (name, rows) for name in ("predict", "train_step", "evaluate") for rows in (1, 32)
    }
    tg.export(model, tmp_path, batch_sizes=[4, 2, 4])
    found = described(tmp_path)
    assert sorted({entry["rows"] for entry in found["entries"]}) == [2, 4]
    for wrong in ([], [0], [1.5]):
        with pytest.raises(ArgumentError, match="positive batch sizes"):
            tg.export(model, tmp_path, batch_sizes=wrong)
    with pytest.raises(ArgumentError, match=r"batch_sizes to be Sequence\[int\] \| None; rec"):
        tg.export(model, tmp_path, batch_sizes=[True])


def test_a_model_that_was_not_compiled_predicts_only(visit, tmp_path):
    model = tg.Sequential([tg.Input((3,)), tg.layers.Dense(4, activation="softmax")])
    tg.export(model, tmp_path)
    page = visit(tmp_path)
    assert page.is_hidden("#learn")
    shares = page.evaluate("tabgrad.model.predict([[1, 1, 1]]).then((y) => y.tolist()[0])")
    np.testing.assert_allclose(
        shares, model.predict(np.ones((1, 3), np.float32))[0], rtol=1e-5, atol=1e-7
    )
    shown = [text.rstrip(" %") for text in page.locator("dd + dd").all_inner_texts()]
    np.testing.assert_allclose([float(text) for text in shown], np.array(shares) * 100, atol=0.06)


def test_functions_that_share_variables(javascript, visit, tmp_path):
    level = tg.Variable(10.0, name="level")

    @tg.compile
    def fill(amount):
        level.assign(level + tg.sum(amount))
        return level.value

    @tg.compile
    def scale(x):
        return x * level, tg.sum(x)

    fill(tg.tensor([1.0, 2.0]))
    scale(tg.tensor([[1.0, 2.0]]))
    tg.export({"fill": fill, "scale": scale}, tmp_path)
    found = javascript(
        """
        const { load } = await import(value + "tabgrad.js");
        const model = await load(new URL("model.json", value));
        const list = (result) => Object.values(result).map((each) => each.tolist());
        answer = {
          names: model.entries.map(({ name, inputs, outputs, state }) =>
            [name, inputs.length, outputs.length, state]),
          filled: (await model.run("fill", [3, 4])).tolist(),
        };
        answer.scaled = list(await model.run("scale", [[1, 2]]));
        """,
        tmp_path.as_uri() + "/",
    )
    assert [name for name, *_ in found["names"]] == ["fill", "scale"]
    assert found["filled"] == 20
    assert found["scaled"] == [[[20, 40]], 3]
    page = visit(tmp_path)
    assert page.locator("option").all_inner_texts() == ["fill", "scale"]


def test_wrong_things_to_export(tmp_path):
    for wrong in (3, {}, {"f": len}):
        with pytest.raises(ArgumentError, match="compile"):
            tg.export(wrong, tmp_path)
    with pytest.raises(ArgumentError, match="have been called"):
        tg.export({"f": tg.compile(lambda x: x)}, tmp_path)


def test_labels_of_the_page_are_checked(javascript, tmp_path):
    model = tg.Sequential([tg.Input((2,)), tg.layers.Dense(3, activation="softmax")])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(np.zeros((4, 2), np.float32), np.array([0, 1, 2, 0]), batch_size=4, verbose=0)
    tg.export(model, tmp_path)
    found = javascript(
        """
        const { load } = await import(value + "tabgrad.js");
        const model = await load(new URL("model.json", value));
        const x = [[0, 0], [1, 1]];
        const fine = await model.fit(x, [0, 2]);
        answer = [Object.keys(fine.history), await model.fit(x, [0, 3]).catch(({ code }) => code)];
        """,
        tmp_path.as_uri() + "/",
    )
    assert found == [["loss", "accuracy"], "label"]


@pytest.mark.slow
@pytest.mark.alone
def test_the_page_stays_smooth_while_a_cnn_trains(visit, tmp_path):
    """While the digits CNN trains, frames keep coming and no task exceeds 50 ms.

    Other work on the machine can hold up any task, so the best of three trainings counts: what
    the page itself does too long, it does each time.
    """
    digits_example.export(digits_example.make_model(), tmp_path)
    page = visit(tmp_path)
    page.fill("#epochs", "30")
    page.evaluate(
        """() => {
            window.measured = { frames: [], tasks: [] };
            new PerformanceObserver((list) => {
              for (const { duration } of list.getEntries()) measured.tasks.push(duration);
            }).observe({ type: "longtask" });
            const frame = (now) => {
              measured.frames.push(now);
              requestAnimationFrame(frame);
            };
            requestAnimationFrame(frame);
        }"""
    )
    longest = []
    for _ in range(3):
        page.evaluate("Object.assign(measured, { frames: [], tasks: [] })")
        page.click("#fresh")
        page.locator("#fresh:not([disabled])").wait_for()
        frames, tasks = page.evaluate("[measured.frames, measured.tasks]")
        gaps = np.diff(frames)
        print(f"{len(frames)} frames, longest gap {gaps.max():.0f} ms, long tasks {tasks}")
        assert len(frames) > 30
        longest.append(max(tasks, default=0))
        if longest[-1] <= 50 and gaps.max() < 100:
            break
    assert min(longest) <= 50
    assert gaps.max() < 100
    caption = page.locator("figcaption", has_text="accuracy").inner_text()
    assert float(caption.split("validation")[1].rstrip(" %")) > 95
