"""Host copies of what steps change, so that another engine can go on where one has failed.

While steps run on an engine that may be lost, the values of all Variables they touch (weights,
slots, counters, random state, metrics) are copied to the host before the first and every few
seconds. After a fault the next engine starts from the last copy and repeats the steps since.

It knows a numbered run of steps and Variables, nothing of models. Not here: which errors are
faults, and what goes on then (`engines/faults.py`); moving single values (`realize/`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any, TypeAlias, TypeVar

from tabgrad import realize
from tabgrad.errors import EngineError
from tabgrad.tensor import Node, Tensor
from tabgrad.variable import Variable

T = TypeVar("T")

Pause: TypeAlias = "list[Node] | Coroutine[Any, Any, None] | None"
Work: TypeAlias = Generator[Pause, None, T]
"""Work in pieces. It yields None between them, nodes where it needs their values on the host, and
coroutines that have to end before it goes on, after which the engine may be another one. Whoever
drives it sees to that (`run.py`), waiting in whatever way it can."""

SECONDS_BETWEEN_COPIES = 5.0


class Rescue:
    """The way back for a run of steps, should the engine fail.

    Args:
        variables: what the steps change; asked before each copy, as steps may make more.
        inputs: values they need beside, which have to survive as well.
        moved: called when another engine has taken over.
    """

    def __init__(
        self,
        variables: Callable[[], Iterable[Variable]],
        inputs: Callable[[], Iterable[Tensor]] = tuple,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self._variables, self._inputs, self._moved = variables, inputs, moved
        self.idle = True  # whether steps need nothing of this, until the next `begin`
        self._step: Callable[[int], Any] = lambda number: None
        self._done = 0
        self._kept: dict[int, tuple[Variable, bytes]] = {}
        self._at = 0  # how many steps were done when the copy was taken
        self._versions: dict[int, int] = {}
        # What somebody beside the steps has assigned since, and after how many of them.
        self._assigned: list[tuple[int, Variable, Node]] = []
        self._taken = 0.0
        self._engine: Any = None  # that of the copy

    def begin(self, step: Callable[[int], Any]) -> Work[None]:
        """From here on `step(0)`, `step(1)`, ... is what `next` does."""
        self.idle = not self._kept and not realize.may_fail()
        if not self.idle:
            yield from self.attempt(self._copy)
            self.idle = not realize.may_fail()
        self._step, self._done, self._at = step, 0, 0
        self._assigned.clear()

    def next(self) -> Work[Any]:
        """Do the next step; what it returns."""
        found = yield from self.attempt(lambda: self._step(self._done))
        self._done += 1
        self._note_versions()
        if time.monotonic() - self._taken > SECONDS_BETWEEN_COPIES:
            yield from self.attempt(self._copy)
        return found

    def attempt(self, work: Callable[[], Any]) -> Work[Any]:
        """Do something that needs the engine, again on the next one where this one fails.

        Args:
            work: a function, or one that returns `Work`.

        Raises:
            EngineError: what no other engine helps with.
        """
        failed = self._left_behind()
        self._note_assigned()
        while True:
            try:
                if failed:
                    self._moved()
                    self._engine = realize.engine()
                    yield from self._repeat()
                found = work()
                return (yield from found) if isinstance(found, Generator) else found
            except EngineError as error:
                if not self._left_behind():
                    realize.take_over(error)
                failed = True

    def _left_behind(self) -> bool:
        """Whether somebody else has noticed that the engine of the copy is lost."""
        return self._engine is not realize.engine() and bool(self._engine and self._engine.closed)

    def _copy(self) -> Work[None]:
        self._engine = realize.engine()
        if not realize.may_fail():
            self._kept.clear()  # or a later engine would go back to it
            return
        variables = list(self._variables())
        yield [t.node for t in self._inputs()]
        yield [v.node() for v in variables]
        kept = {id(v): (v, realize.read(v.node())) for v in variables}
        self._kept, self._at = kept, self._done
        self._assigned.clear()
        self._note_versions()
        self._taken = time.monotonic()

    def _repeat(self) -> Work[None]:
        """The values of the copy, and everything since."""
        if not self._kept:
            return
        for variable, raw in self._kept.values():
            variable.assign(Tensor(realize.upload(raw, variable.shape, variable.dtype)))
        assigned = list(self._assigned)
        for number in range(self._at, self._done + 1):
            while assigned and assigned[0][0] == number:
                _, variable, node = assigned.pop(0)
                variable.assign(Tensor(node))
            if number < self._done:
                self._step(number)
                yield None
        self._note_versions()

    def _note_versions(self) -> None:
        self._versions = {key: v.version for key, (v, _) in self._kept.items()}

    def _note_assigned(self) -> None:
        """Keep what callbacks and the like have assigned to since the last step."""
        for key, (variable, _) in self._kept.items():
            if variable.version != self._versions[key]:
                self._versions[key] = variable.version
                self._assigned.append((self._done, variable, variable.node()))


__all__ = ["SECONDS_BETWEEN_COPIES", "Pause", "Rescue", "Work"]
