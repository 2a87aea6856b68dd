"""Takes the README's picture: a digit drawn on the digits page after it has trained there.

    .venv/bin/python -m tools.picture

Trains the model as `make demo` does, exports it to a temporary folder and writes docs/digits.png.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from examples import digits
from tools.browser import launch
from tools.static_server import serve

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "digits.png"


def three() -> list[tuple[float, float]]:
    """The way of a pen that writes a 3, from 0 to 1 across and down: two bows."""
    points = []
    for middle, radius in ((0.33, 0.15), (0.66, 0.18)):
        first, last = (-150, 80) if middle < 0.5 else (-80, 150)
        for step in range(25):
            angle = math.radians(first + (last - first) * step / 24)
            points.append((0.47 + radius * math.cos(angle), middle + radius * math.sin(angle)))
    return points


def draw(page: Page, points: list[tuple[float, float]]) -> None:
    box = page.locator("#drawing").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()


def main() -> None:
    model = digits.make_model()
    images, _, labels, _ = digits.load_data()
    model.fit(images, labels, batch_size=digits.BATCH_SIZE, epochs=digits.EPOCHS, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        digits.export(model, folder)
        with sync_playwright() as playwright, serve(folder) as address:
            browser = launch(playwright)
            page = browser.new_page(
                viewport={"width": 1000, "height": 760}, device_scale_factor=2, color_scheme="light"
            )
            page.goto(address)
            page.fill("#epochs", str(digits.EPOCHS))
            page.click("#fresh")
            page.wait_for_selector("#stop:not([disabled])")
            page.wait_for_selector("#stop[disabled]", state="attached")
            draw(page, three())
            page.mouse.move(0, 0)
            page.wait_for_timeout(500)  # for the bars to come to rest
            page.screenshot(path=PICTURE, full_page=True)
            browser.close()


if __name__ == "__main__":
    main()
