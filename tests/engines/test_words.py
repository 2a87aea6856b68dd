"""Elements in the 32-bit words of a GPU: every value of the narrow dtypes, and back."""

from __future__ import annotations

import numpy as np
import pytest

from tabgrad.engines.words import narrow_size, narrowed, widened

EVERY = np.arange(65536, dtype=np.uint16)
HALVES = EVERY.view(np.float16)
WORDS = {
    "bool": (np.array([False, True]), np.uint32),
    "uint8": (EVERY[:256].astype(np.uint8), np.uint32),
    "int8": (EVERY[:256].astype(np.uint8).view(np.int8), np.int32),
    "uint16": (EVERY, np.uint32),
    "int16": (EVERY.view(np.int16), np.int32),
    "float16": (HALVES[~np.isnan(HALVES)], np.float32),
}


@pytest.mark.parametrize("name", WORDS)
def test_every_narrow_value(name: str) -> None:
    elements, word = WORDS[name]
    words = bytes(widened(elements.tobytes(), name))
    np.testing.assert_array_equal(np.frombuffer(words, word), elements.astype(word))
    assert narrowed(words, name) == elements.tobytes()
    assert narrow_size(name) == elements.itemsize


def test_half_nans_stay_nan() -> None:
    nans = HALVES[np.isnan(HALVES)]
    words = bytes(widened(nans.tobytes(), "float16"))
    assert np.isnan(np.frombuffer(words, np.float32)).all()
    assert np.isnan(np.frombuffer(narrowed(words, "float16"), np.float16)).all()


@pytest.mark.parametrize("name", ["int32", "uint32", "float32", "int64", "uint64", "float64"])
def test_words_and_pairs_of_words_stay_as_they_are(name: str) -> None:
    data = np.arange(6).astype(name).tobytes()
    assert widened(data, name) == data
    assert narrowed(memoryview(data), name) == data
    assert narrow_size(name) == 0
