"""An exported model on each engine of a browser, and what becomes of it when a GPU goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.e2e.gpus import CATCH, Place, classifier, exported, for_js, start
from tests.e2e.models import from_js, largest_difference

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.conftest import SiteServer

GPUS = ["webgpu", "webgl"]


@pytest.fixture(scope="module")
def browser(chromium: Browser) -> Iterator[Browser]:
    browser = start(chromium)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(classifier(), tmp_path_factory.mktemp("engines"), 1, 8)


@pytest.fixture
def place(browser: Browser, site_server: SiteServer, site: Path) -> Iterator[Place]:
    """The export in a page; errors that nobody caught fail the test."""
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(CATCH)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield Place(page, site_server, site)
    context.close()
    assert not errors


def data(rows: int = 44) -> tuple[Any, Any]:
    x = np.random.default_rng(rows).standard_normal((rows, 6), np.float32)
    return x, (x[:, 0] > 0).astype(np.int32) + (x[:, 1] > 0.5)


def fits(**options: Any) -> dict[str, Any]:
    x, y = data()
    return {
        "fits": [{"x": for_js(x), "y": for_js(y), "options": {"epochs": 4, "seed": 1, **options}}],
        "test": {"x": for_js(x[:13]), "y": for_js(y[:13])},
    }


def assert_close(found: Any, expected: Any) -> None:
    """The same training, up to the rounding of another engine."""
    for mine, theirs in zip(found["histories"], expected["histories"], strict=True):
        assert mine["epoch"] == theirs["epoch"]
        assert mine["history"].keys() == theirs["history"].keys()
        for name, values in theirs["history"].items():
            np.testing.assert_allclose(mine["history"][name], values, rtol=2e-4, atol=2e-5)
    for name, value in expected["evaluated"].items():
        np.testing.assert_allclose(found["evaluated"][name], value, rtol=2e-4, atol=2e-5)
    weights, others = from_js(found["weights"]), from_js(expected["weights"])
    assert largest_difference(weights, others) < 2e-4


@pytest.mark.parametrize("worker", [False, True], ids=["main", "worker"])
@pytest.mark.parametrize("engine", GPUS)
def test_trains_as_on_wasm(place: Place, engine: str, worker: bool) -> None:
    given = fits(validationSplit=0.25)
    found = place.train(engine, given, worker=worker)
    assert found["engines"] == [engine, engine]
    assert found["worker"] == worker
    assert not any(name.endswith(".wasm") for name in place.requests)
    other = "webgl" if engine == "webgpu" else "webgpu"
    assert not any(other in name for name in place.requests)
    expected = place.train("wasm", given, worker=worker)
    assert expected["engines"] == ["wasm", "wasm"]
    assert_close(found, expected)
    assert not place.warnings and not found["warnings"]
