"""Run: a training under way. The laptop runs it through, a page a slice at a time.

It knows a generator of steps and the Variables they change, and nothing of models.
"""

from __future__ import annotations

import asyncio
import math
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from tabgrad import realize
from tabgrad.errors import EngineError
from tabgrad.rescue import Work
from tabgrad.tensor import Node
from tabgrad.variable import Variable, scope

# A page repaints about 60 times a second; a slice of training leaves it the time.
_SLICE_SECONDS = 0.012

T = TypeVar("T")


def through(steps: Work[T]) -> T:
    """Run steps to their end; what they return."""
    problem: Exception | None = None
    while True:
        try:
            wanted = next(steps) if problem is None else steps.throw(problem)
            problem = None
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        try:
            if wanted is not None:
                realize.fetch_now(wanted)
        except EngineError as error:
            problem = error


class Run:
    """A training that is under way: on the laptop it runs through, in a page slice by slice.

    Args:
        steps: the generator of its steps.
        variables: what it changes. Nobody else reads them before it has finished.
        engine: a context in which the steps run.
    """

    def __init__(
        self,
        steps: Work[Any],
        variables: Sequence[Variable],
        engine: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.done = False
        self._steps = steps
        self._engine = engine
        self._inside = False
        self._wanted: list[Node] | None = None  # what the steps need on the host to go on
        self._problem: Exception | None = None  # with bringing it there
        self._error: BaseException | None = None
        self._task: asyncio.Future[None] | None = None
        self._guarded = {id(v) for v in variables}
        self._guard = scope(self)

    def advance(self, seconds: float = math.inf, *, awaits: bool = False) -> None:
        """Run steps for about this long, at least one; with `awaits` also no further than to where
        values have to be waited for."""
        end = time.perf_counter() + seconds
        self._inside = True
        try:
            with self._engine():
                while True:
                    self._bring()
                    if self._problem is None:
                        self._wanted = next(self._steps)
                    else:
                        problem, self._problem = self._problem, None
                        self._wanted = self._steps.throw(problem)
                    if self._wanted is not None and not (awaits and realize.may_fail()):
                        continue
                    if self._wanted is not None or time.perf_counter() >= end:
                        return
        except StopIteration:
            self.done = True
        except BaseException:
            self.done = self._wanted is None  # else values could not be waited for: later they can
            raise
        finally:
            self._inside = False

    def _bring(self) -> None:
        """Values the steps wait for, at once."""
        wanted, self._wanted = self._wanted, None
        try:
            if wanted is not None:
                realize.fetch_now(wanted)
        except EngineError as error:
            if error.code == "async":
                self._wanted = wanted
                raise EngineError(
                    "expected `await model.fit(...)`; received a use of the model while fit is "
                    f"still training on {realize.engine().kind!r}, for which this page cannot wait",
                    code="async",
                ) from error
            self._problem = error

    async def _bring_later(self) -> None:
        wanted, problem = self._wanted, None
        if wanted is None:
            return
        try:
            await realize.fetch(wanted)
        except Exception as error:
            problem = error
        if self._wanted is wanted:  # or somebody has let it finish meanwhile
            self._wanted, self._problem = None, problem

    def start(self) -> None:
        """Run in slices on the event loop, between which the page stays alive."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.advance()  # nothing will ever run a slice
            return
        self._guard.__enter__()
        self._task = loop.create_task(self._drive())

    async def _drive(self) -> None:
        while not self.done:
            await self._bring_later()
            self._slice(_SLICE_SECONDS, awaits=True)
            await asyncio.sleep(0)

    def _slice(self, seconds: float, *, awaits: bool = False) -> None:
        try:
            self.advance(seconds, awaits=awaits)
        except Exception as error:
            self._error = error
        finally:
            if self.done:
                self._guard.__exit__()

    async def wait(self) -> None:
        """Wait until training has finished; raises what it raised."""
        if self._task is not None:
            await self._task
        self._raise()

    def finish(self) -> None:
        """Run everything that is left now; raises what it raised."""
        if self._inside:
            return  # a callback of this very training
        if not self.done:
            warnings.warn(
                "the model was used while fit was still training in the page, so the rest of the "
                "training ran at once and the page stood still; write `await model.fit(...)`",
                stacklevel=4,
            )
            self._slice(math.inf)
        self._raise()

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    # A Variable asks these before it is read or assigned (`variable.Scope`).

    def read(self, variable: Variable, outer: int) -> Node | None:
        """Finish first when the Variable is being trained; then it is read as always."""
        if id(variable) in self._guarded:
            self.finish()
        return None

    def assign(self, variable: Variable, node: Node) -> bool:
        """Finish first when the Variable is being trained; then it is assigned as always."""
        if id(variable) in self._guarded:
            self.finish()
        return False
