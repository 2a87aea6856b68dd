"""What the places that exported models run in have in common: scenarios, and headers of pages."""

from __future__ import annotations

from pathlib import Path

SCENARIOS = Path(__file__).resolve().with_name("places.js")
STRICT = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'",
    "Cache-Control": "no-store",
}
