"""The page as a visitor uses it: predicting, training, drawing, by mouse, finger and keyboard."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from tabgrad import dtypes
from tabgrad.formats.safetensors import Array
from tabgrad.web import site as site_module
from tabgrad.web.site import Data, Initial, write_site
from tests.player.linear import Oracle, build_model, shuffled
from tests.web.digits_model import build_digits

X = np.linspace(-1, 1, 12, dtype=np.float32)[:, None]
Y = 3 * X - 1


def array(values):
    return Array(values.shape, dtypes.as_dtype(str(values.dtype)), values.tobytes())


@pytest.fixture
def line(tmp_path):
    """A page with a line to fit, and data to fit it to."""
    parts = build_model()
    write_site(
        tmp_path, **parts, initial=Initial(parts["weights"]), data=Data([array(X)], [array(Y)])
    )
    return tmp_path


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A page with a small classifier of real digits, untrained."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.images))
    images = found.images[order][..., None].astype(np.uint8)
    labels = found.target[order].astype(np.uint8)
    parts = build_digits()
    folder = tmp_path_factory.mktemp("digits")
    held = 360
    write_site(
        folder,
        **parts,
        initial=Initial(parts["weights"]),
        data=Data(
            [array(images[held:])],
            [array(labels[held:])],
            [array(images[:held])],
            [array(labels[:held])],
        ),
    )
    return folder


def train(page, epochs=None, button="#train"):
    if epochs is not None:
        page.fill("#epochs", str(epochs))
    page.click(button)
    page.locator(f"{button}:not([disabled])").wait_for()


def answer(page):
    return float(page.inner_text(".answer"))


def test_predicts_from_a_form(visit, line):
    page = visit(line)
    assert page.title() == "A line <fitted> & tested"
    assert page.inner_text("h1") == page.title()
    assert "2 parameters" in page.inner_text("#about")
    assert answer(page) == 0.75
    page.get_by_label("x", exact=True).fill("5")
    page.keyboard.press("Enter")
    page.get_by_text("2.75").wait_for()


def test_trains_and_shows_it(visit, line):
    page = visit(line)
    assert "12 rows of data" in page.inner_text("#sample")
    train(page, 40)
    assert page.inner_text("#status") == "Epoch 40 of 40"
    oracle = Oracle()
    for epoch in range(60):
        loss = oracle.epoch(X, Y, shuffled(12, 7, epoch))["loss"]
        if epoch == 39:
            assert answer(page) == pytest.approx(float(oracle.predict(1)), rel=1e-3)
            chart = page.locator("canvas[aria-label^=After]").first
            shown = chart.get_attribute("aria-label")
            assert shown == f"After epoch 40: loss {loss:.4g} "
    # Training further goes on where it was, with the shuffles of the next epochs.
    train(page, 20)
    assert page.inner_text("#status") == "Epoch 60 of 60"
    assert answer(page) == pytest.approx(float(oracle.predict(1)), rel=1e-3)
    train(page, 40, "#fresh")
    assert page.inner_text("#status") == "Epoch 40 of 40"


def test_the_charts_are_drawn(visit, line):
    page = visit(line)
    train(page, 30)
    page.wait_for_timeout(100)
    colors = page.evaluate(
        """() => [...document.querySelectorAll("figure:not([hidden]) canvas")].map((canvas) => {
            const { width, height } = canvas;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            const colors = new Set();
            for (let i = 0; i < data.length; i += 4) {
              if (data[i + 3] === 255) colors.add([data[i], data[i + 1], data[i + 2]].join());
            }
            return [...colors];
        })"""
    )
    accent, second = "79,70,229", "217,119,6"
    assert len(colors) == 3  # the curve among the data, loss and error
    assert accent in colors[0] and second in colors[0]
    assert accent in colors[1] and accent in colors[2]


def test_stops_gently(visit, line):
    page = visit(line)
    page.evaluate("document.querySelector('#epochs').max = 1e9")
    page.fill("#epochs", "100000000")
    page.click("#train")
    page.get_by_text(re.compile(r"^Epoch \d\d+ of")).wait_for()
    assert page.is_disabled("#train")
    page.click("#stop")
    page.locator("#train:not([disabled])").wait_for()
    assert page.is_disabled("#stop")
    assert answer(page) > 1, "what was learnt is kept"


def test_trains_on_pasted_data(visit, line):
    page = visit(line)
    page.click("summary")
    label = page.inner_text("label[for=rows]")
    assert label == 'One row a line: x, y. Or JSON with "x" and "y".'
    for text in (
        "x;y\n1; 5\n\n-1;\t5\r\n",
        "1,5\n-1 5",
        json.dumps({"x": [[1], [-1]], "y": [5, 5]}),
    ):
        page.fill("#rows", text)
        train(page, 100, "#fresh")
        assert page.inner_text("#status") == "Epoch 100 of 100"
        assert answer(page) == pytest.approx(5, abs=0.05)


def test_says_what_is_wrong_with_pasted_data(visit, line):
    page = visit(line)
    page.click("summary")
    before = answer(page)
    for text, message in {
        "1,2\n3": "line 2: expected 2 numbers, received 1",
        "1,2\n3,x": 'line 2: "x" is not a number',
        '{"x": [1]}': 'expected JSON with "x" and "y"',
        '{"x": [1], "y": [1, 2]}': '"x" has 1 rows, "y" has 2',
        '{"x": [1], "y": [666]}': "a Program failed while running entry 4",
        "x,y": "no rows",
    }.items():
        page.fill("#rows", text)
        train(page, 5)
        assert message in page.inner_text("#status")
        assert page.locator("#status.bad").count() == 1
        assert answer(page) == before
    page.fill("#rows", "1,2")
    train(page, 5)
    assert page.locator("#status.bad").count() == 0


def test_saves_and_loads_weights(visit, line, tmp_path):
    page = visit(line)
    train(page, 30)
    learnt = answer(page)
    with page.expect_download() as download:
        page.click("#save")
    file = tmp_path / "saved.safetensors"
    download.value.save_as(file)
    assert download.value.suggested_filename == "weights.safetensors"
    train(page, 1, "#fresh")
    assert answer(page) != learnt
    page.set_input_files("#load", file)
    page.get_by_text("saved.safetensors loaded").wait_for()
    assert answer(page) == learnt
    file.write_bytes(b"nonsense")
    page.set_input_files("#load", file)
    page.locator("#status.bad").wait_for()
    assert "not a safetensors file" in page.inner_text("#status")
    assert answer(page) == learnt


def test_a_model_without_initial_weights_and_data(visit, tmp_path):
    write_site(tmp_path, **build_model())
    page = visit(tmp_path)
    assert page.is_hidden("#fresh")
    assert page.inner_text("#train") == "Train"
    page.click("#train")
    page.get_by_text("Give it some data first.").wait_for()
    page.fill("#rows", "1,2")
    train(page, 3)
    assert page.inner_text("#status") == "Epoch 3 of 3"


def test_functions_have_forms(visit, tmp_path):
    parts = build_model()
    parts["model"]["predict"] = parts["model"]["training"] = None
    entries = parts["model"]["entries"]
    parts["model"]["entries"] = [
        {**entry, "name": entry["name"].replace("predict", "line")} for entry in entries
    ]
    write_site(tmp_path, **parts)
    page = visit(tmp_path)
    assert page.is_hidden("#learn")
    names = page.locator("option").all_inner_texts()
    assert names == ["line", "scaled", "whole", "count", "crash", "temporaries"]
    page.select_option("select", "scaled")
    inputs = page.locator("form input")
    inputs.nth(0).fill("3")
    inputs.nth(1).fill("7")
    page.click("text=Run")
    page.get_by_text("21").wait_for()
    assert page.locator(".answer .hint").all_inner_texts() == ["y", "total"]
    page.select_option("select", "count")
    page.click("text=Run")
    page.locator(".answer", has_text="0").wait_for()
    page.select_option("select", "whole")
    page.click("text=Run")
    page.locator(".answer.bad").wait_for()
    assert "takes 8 rows" in page.inner_text(".answer")


def test_a_large_input_is_one_text(visit, digits, tmp_path):
    parts = build_digits()
    parts["model"]["task"] = None
    write_site(tmp_path, **parts)
    page = visit(tmp_path)
    assert page.locator(".bars dt").all_inner_texts() == [str(i) for i in range(10)]
    page.get_by_label("x: 1 × 8 × 8 × 1 numbers").fill("1, 2")
    page.click("text=Predict")
    page.locator(".answer.bad").wait_for()
    assert "2 values for shape [1, 8, 8, 1]" in page.inner_text(".answer")


@pytest.mark.parametrize("missing", ["model.json", "kernels.wasm", "weights.safetensors"])
def test_a_page_that_is_not_whole_says_so(visit, line, missing):
    (line / missing).unlink()
    page = visit(line, ready=False)
    page.locator("#about.bad").wait_for()
    assert missing in page.inner_text("#about")
    assert page.evaluate("tabgrad.ready.catch(({ code }) => code)") == "missing_file"
    visit.complaints[:] = [each for each in visit.complaints if "404" not in each]


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
@pytest.mark.parametrize("site", ["line", "digits"])
def test_fits_screens_of_any_width(request, visit, site, width):
    page = visit(request.getfixturevalue(site), width=width)
    train(page, 2)
    box = "[document.documentElement.scrollWidth, innerWidth]"
    scroll, inner = page.evaluate(box)
    assert scroll <= inner == width
    for control in page.locator("button:visible, input:visible, summary, #drawing").all():
        if control.get_attribute("type") == "file":
            continue
        place = control.bounding_box()
        assert place["x"] >= 0 and place["x"] + place["width"] <= width
        assert place["height"] >= 23


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_both_color_schemes(visit, line, scheme):
    page = visit(line, color_scheme=scheme)
    found = page.evaluate(
        """() => ["h1", "#about", ".answer", "#sample", "button.first", "footer", "label", "#stop"]
          .map((selector) => {
            const element = document.querySelector(selector);
            let behind = element;
            while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") {
              behind = behind.parentElement;
            }
            const numbers = (color) => color.match(/[0-9.]+/g).slice(0, 3).map(Number);
            return [
              selector,
              numbers(getComputedStyle(element).color),
              numbers(getComputedStyle(behind).backgroundColor),
            ];
          })"""
    )
    for selector, ink, ground in found:
        assert contrast(ink, ground) >= 4.5, selector
    dark = sum(found[0][2]) < 384
    assert dark == (scheme == "dark")


def contrast(a, b):
    """The contrast ratio of WCAG 2."""

    def luminance(color):
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in (value / 255 for value in color)
        ]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_every_control_can_be_reached_by_keyboard(visit, digits):
    page = visit(digits)
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        if reached[-1] == "load":
            break
    expected = ["drawing", "BUTTON", "SUMMARY", "epochs", "fresh", "train", "save", "load"]
    assert reached == expected
    page.keyboard.press("Shift+Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


# Drawings as strokes in a box from 0 to 1.
STROKES = {
    0: [[(0.5 + 0.3 * math.sin(a / 4), 0.5 - 0.42 * math.cos(a / 4)) for a in range(26)]],
    1: [[(0.55, 0.05), (0.5, 0.95)]],
    3: [
        [(0.25, 0.15), (0.5, 0.06), (0.72, 0.2), (0.66, 0.4), (0.45, 0.48)]
        + [(0.7, 0.58), (0.76, 0.75), (0.6, 0.92), (0.35, 0.93), (0.2, 0.82)]
    ],
    7: [[(0.2, 0.08), (0.8, 0.08), (0.4, 0.95)]],
}


def draw(page, strokes, corner=0.1, size=0.8):
    page.click("text=Clear")
    page.get_by_text("Draw a digit from 0 to 9").wait_for()
    page.evaluate("scrollTo(0, 0)")
    box = page.locator("#drawing").bounding_box()

    def place(x, y):
        return (
            box["x"] + box["width"] * (corner + size * x),
            box["y"] + box["height"] * (corner + size * y),
        )

    for first, *others in strokes:
        page.mouse.move(*place(*first))
        page.mouse.down()
        for point in others:
            page.mouse.move(*place(*point), steps=3)
        page.mouse.up()


def test_digits_trained_in_the_page_are_recognised(visit, digits):
    """Trained from scratch by a click; drawn large, and small in a corner."""
    page = visit(digits)
    assert page.locator(".bars progress").count() == 10
    train(page, 10, "#fresh")
    caption = page.locator("figcaption", has_text="accuracy").inner_text()
    accuracy, validation = (float(part.split()[-1]) for part in caption.split(" %")[:2])
    assert accuracy > 94 and validation > 93
    for digit, strokes in STROKES.items():
        for corner, size in ((0.1, 0.8), (0.5, 0.35)):
            draw(page, strokes, corner, size)
            page.get_by_text(f"This is a {digit}").wait_for()
            top = page.locator(".bars .top").inner_text()
            assert top == str(digit)
    shares = [float(text.rstrip(" %")) for text in page.locator("dd + dd").all_inner_texts()]
    assert sum(shares) == pytest.approx(100, abs=0.6)


def test_accuracy_rises_while_it_trains(visit, digits):
    page = visit(digits)
    page.evaluate(
        """() => {
            window.seen = [];
            const caption = document.querySelectorAll("figcaption")[1];
            new MutationObserver(() => seen.push(caption.textContent))
              .observe(caption, { childList: true, subtree: true, characterData: true });
        }"""
    )
    train(page, 8, "#fresh")
    seen = page.evaluate("seen")
    values = [float(text.split()[1]) for text in seen if "%" in text]
    assert len(values) >= 8
    assert values[-1] > values[0]


def test_draws_with_a_finger(chromium, site_server, digits):
    context = chromium.new_context(has_touch=True, viewport={"width": 360, "height": 700})
    page = context.new_page()
    page.goto(site_server(digits))
    page.locator("main[aria-busy=false]").wait_for()
    session = context.new_cdp_session(page)
    box = page.locator("#drawing").bounding_box()
    points = [(box["x"] + 80, box["y"] + 40 + 10 * i) for i in range(15)]
    kinds = ["touchStart", *["touchMove"] * (len(points) - 1)]
    for kind, (x, y) in zip(kinds, points, strict=True):
        touch = {"type": kind, "touchPoints": [{"x": x, "y": y}]}
        session.send("Input.dispatchTouchEvent", touch)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.get_by_text("This is a").wait_for()
    assert page.evaluate("scrollY") == 0, "the finger draws instead of scrolling"
    context.close()


def test_draws_with_the_keyboard(visit, digits):
    page = visit(digits)
    train(page, 5, "#fresh")
    page.focus("#drawing")
    for key in ("ArrowLeft", "Space", *["ArrowDown"] * 12, "Space", "ArrowLeft"):
        page.keyboard.press(key)
    page.get_by_text("This is a 1").wait_for()
    page.keyboard.press("Delete")
    page.get_by_text("Draw a digit from 0 to 9").wait_for()


def test_drawings_look_like_the_data(javascript, tmp_path):
    """Real digits fill the height of their box, keep off its sides, and have as much ink."""
    from sklearn.datasets import load_digits

    real = load_digits().images
    assert (real[:, [0, 7]].sum(2) > 0).all()
    ink = real.sum((1, 2))
    sides = np.quantile(real[:, :, [0, 7]].sum((1, 2)), 0.97)
    strokes = list(STROKES.values())
    templates = (Path(site_module.__file__).parent / "templates").as_uri()
    found = javascript(
        """
        const { blocks } = await import(value.templates + "/digits.js");
        const task = { height: 8, width: 8, scale: 16 };
        const scaled = (strokes, size, x, y) =>
          strokes.map((stroke) => stroke.map(([a, b]) => [a * size + x, b * size + y]));
        answer = value.strokes.map((strokes) => [
          [...blocks(strokes, task)],
          [...blocks(scaled(strokes, 0.2, 0.7, 0.1), { ...task, scale: 1 })],
        ]);
        answer.push([...blocks([], task)], [...blocks([[[0.5, 0.5]]], task)]);
        """,
        {"strokes": strokes, "templates": templates},
    )
    for drawn, small in found[: len(strokes)]:
        image = np.array(drawn).reshape(8, 8)
        assert ink.min() <= image.sum() <= ink.max()
        assert image.max() >= 14 and (image == image.round()).all()
        assert image[0].any() and image[-1].any()
        assert image[:, [0, 7]].sum() <= sides
        np.testing.assert_allclose(np.array(small) * 16, drawn, atol=3)
    nothing, dot = found[len(strokes) :]
    assert sum(nothing) == 0
    assert 0 < sum(dot) < 100
