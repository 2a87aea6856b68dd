"""Looking for an engine that runs a Program faster than the current one.

Not here: the timing, and what is remembered of it (`engines/auto.py`); who goes over to it
(`steps.py`).
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any
from weakref import WeakValueDictionary

from tabgrad.compiler.program import Program
from tabgrad.engines import auto
from tabgrad.engines.auto import Choice
from tabgrad.errors import EngineError
from tabgrad.ir.entry import EntryGraph
from tabgrad.ir.graph import Node
from tabgrad.realize import current
from tabgrad.realize.moving import read
from tabgrad.realize.programs import load_on
from tabgrad.realize.values import Buffer

# By their kinds, the engines that models have gone on to.
_others: WeakValueDictionary[str, Any] = WeakValueDictionary()


def faster(
    name: str,
    program: Program,
    loaded: Any,
    graphs: Sequence[EntryGraph],
    arguments: Sequence[Buffer | Node | int],
) -> Coroutine[Any, Any, Choice | None]:
    """Looks for another engine that runs the first entry of a Program faster, on copies of what its
    arguments are now; see `engines/auto.py`."""
    slots = []
    for given in arguments:
        if isinstance(given, int):
            slots.append(auto.Slot("uint32", 4, word=given))
        elif isinstance(given, Node):
            slots.append(auto.Slot(given.dtype.name, given.nbytes, read(given)))
        else:
            slots.append(auto.Slot(given.dtype, given.nbytes, given.read()))
    return _faster(name, current.engine(), program, loaded, graphs, slots)


async def _faster(
    name: str,
    before: Any,
    program: Program,
    loaded: Any,
    graphs: Sequence[EntryGraph],
    slots: Sequence[auto.Slot],
) -> Choice | None:
    opened: dict[str, Any] = {}

    def open_engine(kind: str) -> Any:
        known = _others.get(kind)
        if known is None or known.closed:
            known = opened[kind] = current.make_engine(kind, False)
        return known

    def load(chosen: Any) -> tuple[Program, Any]:
        return load_on(chosen, graphs)

    found = None
    try:
        found = await auto.faster(name, before, program, loaded, slots, open_engine, load)
    except EngineError:  # no memory for copies, say: everything stays as it is
        pass
    finally:
        for kind, one in opened.items():
            if found is not None and found.engine is one:
                _others[kind] = one
            else:
                one.close()
    return found


def worth_timing(program: Program) -> bool:
    """Whether a Program has so much work that other engines may gain by it."""
    return program.entries[0].flops >= auto.WORTH


def failed_choice(choice: Choice) -> None:
    """The engine that was chosen could not go on: it is not to be chosen again."""
    auto.forget(choice.key)
