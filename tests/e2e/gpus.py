"""A browser with GPUs in software, and what its pages do to them."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import tabgrad as tg
from tabgrad import naming
from tests.e2e.models import export
from tests.e2e.places import SCENARIOS, STRICT
from tools.browser import launch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.conftest import SiteServer

L = tg.layers

# Ways to take a page's GPU away while it works.
AFTER = """
    /** Calls `then(self)` instead of, or after, the n-th call of a method. */
    const after = (type, name, n, then) => {
      const before = type.prototype[name];
      let count = 0;
      type.prototype[name] = function (...args) {
        const result = before.apply(this, args);
        if (++count === n) then(this);
        return result;
      };
    };
"""
DESTROYED = f"""{{ {AFTER}
    let own;
    const {{ requestDevice }} = GPUAdapter.prototype;
    GPUAdapter.prototype.requestDevice = async function (...args) {{
      return (own = await requestDevice.apply(this, args));
    }};
    after(GPUQueue, "submit", 45, () => own.destroy());
}}"""
CONTEXT_LOST = f"""{{ {AFTER}
    after(WebGL2RenderingContext, "drawArrays", 400, (gl) =>
      gl.getExtension("WEBGL_lose_context").loseContext());
}}"""
NO_ADAPTER = "GPU.prototype.requestAdapter = async () => null;"
NO_CONTEXT = """
    const { getContext } = OffscreenCanvas.prototype;
    OffscreenCanvas.prototype.getContext = () => null;
"""
BAD_WGSL = """
    const { createShaderModule } = GPUDevice.prototype;
    GPUDevice.prototype.createShaderModule = function ({ code }) {
      return createShaderModule.call(this, { code: code.replace("fn main", "fn main main") });
    };
"""
BAD_GLSL = """
    const { shaderSource } = WebGL2RenderingContext.prototype;
    WebGL2RenderingContext.prototype.shaderSource = function (shader, text) {
      shaderSource.call(this, shader, text.replace("Frame {", "Frame { what"));
    };
"""
# One of the buffers of a training has no memory.
NO_MEMORY = """
    const filters = [];
    let asked = 0;
    const { pushErrorScope, popErrorScope } = GPUDevice.prototype;
    GPUDevice.prototype.pushErrorScope = function (filter) {
      filters.push(filter);
      pushErrorScope.call(this, filter);
    };
    GPUDevice.prototype.popErrorScope = async function () {
      const short = filters.pop() === "out-of-memory" && ++asked === 20;
      const error = await popErrorScope.call(this);
      return short ? new GPUOutOfMemoryError("none left") : error;
    };
"""
SMALL_BUFFERS = """
    Object.defineProperty(GPUDevice.prototype, "limits", {
      get: () => ({ maxBufferSize: 1024, maxStorageBufferBindingSize: 1024 }),
    });
"""


def start(chromium: Browser) -> Browser:
    """Another browser, with GPUs."""
    return launch(SimpleNamespace(chromium=chromium.browser_type), gpu=True)  # type: ignore[arg-type]


def classifier() -> tg.Sequential:
    """Adam, dropout and metrics: slots, counters and random state besides the weights."""
    naming.reset()
    tg.random.seed(3)
    model = tg.Sequential(
        [tg.Input((6,)), L.Dense(16, "tanh"), L.Dropout(0.25), L.Dense(3, "softmax")]
    )
    model.compile(tg.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class Place:
    """A page with an export and the player, without the page that belongs to the export."""

    def __init__(self, page: Page, site_server: SiteServer, folder: Path) -> None:
        self.page, self.folder = page, folder
        self.warnings: list[str] = []
        self.lines: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._heard)
        page.on("request", lambda request: self.requests.append(request.url.rpartition("/")[2]))
        page.context.set_default_timeout(60_000)
        shutil.copy(SCENARIOS, folder / "places.js")
        (folder / "empty.html").write_text("<!doctype html><title>empty</title>")
        page.goto(f"{site_server(folder, STRICT)}empty.html")

    def _heard(self, message: Any) -> None:
        if message.text.startswith("tabgrad: "):
            (self.warnings if message.type == "warning" else self.lines).append(message.text)

    def __call__(self, function: str, value: Any = None) -> Any:
        """What a function of {load, scenarios, failure, value} answers."""
        return self.page.evaluate(
            f"""async (value) => {{
                const {{ load }} = await import("./tabgrad.js");
                const {{ scenarios }} = await import("./places.js");
                const start = (options) => load("model.json", options);
                const failure = (promise) => promise.then(
                    () => ({{}}), ({{ name, code, message }}) => ({{ name, code, message }}));
                return ({function})({{ start, scenarios, failure, value }});
            }}""",
            value,
        )

    def break_in_worker(self, script: str) -> None:
        """Runs a script in the model's worker, in front of its own."""

        def answer(route: Any) -> None:
            text = (self.folder / "tabgrad" / "worker.js").read_text()
            route.fulfill(body=f"{{{script}}}\n{text}", content_type="text/javascript")

        self.page.route("**/worker.js", answer)

    def train(self, engine: str, given: Any, **options: Any) -> Any:
        """The scenario "train" on an engine, with what the model says of itself."""
        return self(
            """async ({ start, scenarios, value: [options, given] }) => {
                const model = await start(options);
                const before = model.engine;
                const found = await scenarios.train(model, given);
                const { engine, warnings } = model;
                model.dispose();
                return { ...found, engines: [before, engine], warnings };
            }""",
            [{"engine": engine, **options}, given],
        )


def exported(model: Any, folder: Path, *sizes: int, **options: Any) -> Path:
    """An export for all engines."""
    return export(model, folder, *sizes, engines=["webgpu", "webgl"], **options)
