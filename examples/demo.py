"""`make demo`: two models trained on this machine, then inside a real browser page.

Trains the seed program and the digits classifier with the engine that comes with the library,
exports both as static pages, opens each page in headless Chromium, and prints what the page
computed beside what this machine computed. Needs no display; where there is no browser it does
the rest and says what it left out.
"""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import tabgrad as tg
from examples import digits, seed
from tools.browser import NoBrowserError, launch, require_browser
from tools.static_server import serve

if TYPE_CHECKING:
    from playwright.sync_api import Page

SITE = Path(__file__).resolve().parent.parent / "build" / "site"
SEED, SEED_EPOCHS = 0, 100

# All run inside the page, on the model that the page itself has loaded.
PREDICT = """async (x) => {
    const model = await window.tabgrad.ready;
    return (await model.predict(x)).tolist();
}"""
TRAIN_FROM_SCRATCH = """async ({ x, y, epochs, batchSize }) => {
    const { model } = window.tabgrad;
    await model.reset();
    const start = performance.now();
    const { history } = await model.fit(x, y, { epochs, batchSize });
    return { seconds: (performance.now() - start) / 1000, loss: history.loss.at(-1) };
}"""
EVALUATE = "({ x, y }) => window.tabgrad.model.evaluate(x, y)"


def row(place: str, weights: str, measured: str, result: str) -> None:
    print(f"  {place:<6}{weights:<34}{measured:<29}{result}", flush=True)


def for_page(array: Any) -> dict[str, Any]:
    """A NumPy array as the player takes one: flat row-major numbers and their shape."""
    return {"data": array.ravel().tolist(), "shape": list(array.shape)}


def open_page(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_function("window.tabgrad")


def demonstrate_seed(page: Page | None, site: str) -> None:
    print("The seed program: a line through four points, y = 2x - 1\n")
    tg.random.seed(SEED)
    model = seed.make_model()
    xs, ys = seed.load_data()
    start = time.perf_counter()
    history = model.fit(xs, ys, epochs=SEED_EPOCHS, verbose=0)
    seconds = time.perf_counter() - start
    prediction = model.predict(tg.tensor([[5.0]])).tolist()[0][0]
    trained = f"{SEED_EPOCHS} epochs in {seconds * 1000:.0f} ms"
    loss = history.history["loss"][-1]
    print("\nWriting its page:", flush=True)
    tg.random.seed(SEED)  # so that training from scratch in the page begins with the same weights
    tg.export(model, SITE / "seed", title="The seed program")
    print()
    row("here", trained, f"loss {loss:.7f}", f"prediction for 5: {prediction:.6f}")
    if page is None:
        return
    open_page(page, site + "seed/")
    (answer,) = page.evaluate(PREDICT, [[5]])
    row("page", "with the weights of this machine", "", f"prediction for 5: {answer[0]:.6f}")
    data = {"x": xs.tolist(), "y": ys.tolist(), "epochs": SEED_EPOCHS, "batchSize": 32}
    done = page.evaluate(TRAIN_FROM_SCRATCH, data)
    (answer,) = page.evaluate(PREDICT, [[5]])
    trained = f"{SEED_EPOCHS} epochs in {done['seconds'] * 1000:.0f} ms"
    row("page", trained, f"loss {done['loss']:.7f}", f"prediction for 5: {answer[0]:.6f}")


def demonstrate_digits(page: Page | None, site: str) -> None:
    images, held_out_images, labels, held_out_labels = digits.load_data()
    print(f"\n\nHandwritten digits: {len(images):,} real images to learn from, ", end="")
    print(f"{len(held_out_images)} held out\n", flush=True)
    model = digits.make_model()
    progress = 1 if sys.stderr.isatty() else 2  # a line an epoch where no bar can move
    start = time.perf_counter()
    history = model.fit(
        images, labels, batch_size=digits.BATCH_SIZE, epochs=digits.EPOCHS, verbose=progress
    )
    seconds = time.perf_counter() - start
    logs = model.evaluate(held_out_images, held_out_labels, verbose=0, return_dict=True)
    print("\nWriting its page:", flush=True)
    digits.export(model, SITE / "digits")
    print()

    def accuracy(logs: Any) -> str:
        return f"{100 * logs['accuracy']:.2f} % of held-out digits right"

    loss = f"loss {history.history['loss'][-1]:.5f}"
    row("here", f"{digits.EPOCHS} epochs in {seconds:.1f} s", loss, accuracy(logs))
    if page is None:
        return
    open_page(page, site + "digits/")
    held_out = {"x": for_page(held_out_images), "y": for_page(held_out_labels)}
    there = page.evaluate(PREDICT, held_out["x"])
    here = model.predict(held_out_images, verbose=0)
    apart = f"probabilities within {np.abs(np.subtract(here, there)).max():.0e}"
    logs = page.evaluate(EVALUATE, held_out)
    row("page", "with the weights of this machine", apart, accuracy(logs))
    data = {
        "x": for_page(images),
        "y": for_page(labels),
        "epochs": digits.EPOCHS,
        "batchSize": digits.BATCH_SIZE,
    }
    done = page.evaluate(TRAIN_FROM_SCRATCH, data)
    logs = page.evaluate(EVALUATE, held_out)
    trained = f"{digits.EPOCHS} epochs in {done['seconds']:.1f} s"
    row("page", trained, f"loss {done['loss']:.5f}", accuracy(logs))


def main() -> int:
    shutil.rmtree(SITE, ignore_errors=True)
    SITE.mkdir(parents=True)
    page, missing = None, ""
    with ExitStack() as opened:
        site = opened.enter_context(serve(SITE))
        try:
            require_browser()
            from playwright.sync_api import sync_playwright

            browser = launch(opened.enter_context(sync_playwright()))
            opened.callback(browser.close)
            page = browser.new_page()
        except NoBrowserError as error:
            missing = str(error)
        demonstrate_seed(page, site)
        demonstrate_digits(page, site)
    if missing:
        print(f"\n\nLeft out: the same two models inside a browser page, as there is {missing}.")
    else:
        print("\n\n'here' is Python on this machine; 'page' is the exported page in Chromium.")
    print("\nTo look at the pages:\n\n    .venv/bin/python -m tabgrad serve build/site\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
