"""Running the player: small scripts in Node, and the same scenarios in Node and in Chromium."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.javascript import run_module
from tests.player.linear import PLAYER, write_bare_model

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.conftest import SiteServer

HERE = Path(__file__).resolve().parent
STRICT = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'",
    # Tests rewrite files within the second that caches count in.
    "Cache-Control": "no-store",
}

Play = Callable[..., Any]


@pytest.fixture(scope="session")
def javascript(node: str) -> Callable[..., Any]:
    """javascript(code, value=None): the value that an ES module's code leaves in `answer`.

    `player` is the address of the player's folder and `value` the given JSON.
    """

    def run(code: str, value: Any = None) -> Any:
        player = (PLAYER / "tabgrad").as_uri()
        module = f"const {{ player, value }} = sent;\n{code}"
        return run_module(node, module, {"player": player, "value": value})

    return run


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A folder served to the browser, with the player in it and room for models."""
    tmp_path.joinpath("player").symlink_to(PLAYER)
    tmp_path.joinpath("scenarios.js").symlink_to(HERE / "scenarios.js")
    tmp_path.joinpath("empty.html").write_text("<!doctype html><title>empty</title>")
    return tmp_path


@pytest.fixture(params=["node", "worker", "main"])
def play(
    request: pytest.FixtureRequest,
    model_folder: Path,
    javascript: Callable[..., Any],
    page: Page,
    site_server: SiteServer,
) -> Play:
    """play(scenario, value=None, **options): what a function of scenarios.js answers.

    It runs in Node, in a page whose model is in a worker, and in a page without workers. The
    options are those of `build_model`.
    """
    where = request.param
    if where != "node":
        page.goto(f"{site_server(model_folder, STRICT)}empty.html")

    def run(scenario: str, value: Any = None, **options: Any) -> Any:
        write_bare_model(model_folder / "model", **options)
        if where == "node":
            return javascript(
                """
                const { scenarios } = await import(new URL("../scenarios.js", value.base));
                const { load } = await import(new URL("../player/tabgrad.js", value.base));
                const start = (options) => load(new URL("model.json", value.base), options);
                answer = await scenarios[value.scenario](start, value.value);
                """,
                {"base": (model_folder / "model").as_uri() + "/", "scenario": scenario}
                | {"value": value},
            )
        return page.evaluate(
            """async ([worker, scenario, value]) => {
                const { scenarios } = await import("/scenarios.js");
                const { load } = await import("/player/tabgrad.js");
                const start = (options) => load("model/model.json", { worker, ...options });
                return scenarios[scenario](start, value);
            }""",
            [where == "worker", scenario, value],
        )

    run.where = where  # type: ignore[attr-defined]
    return run
