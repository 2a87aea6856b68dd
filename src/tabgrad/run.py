"""Run: a training under way. The laptop runs it through, a page a slice at a time.

It knows a generator of steps and the Variables they change, and nothing of models.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from tabgrad import realize
from tabgrad.errors import EngineError
from tabgrad.rescue import Pause, Work
from tabgrad.tensor import Node
from tabgrad.variable import Variable, scope

# A page repaints about 60 times a second; a slice of training leaves it the time.
_SLICE_SECONDS = 0.012

T = TypeVar("T")


def bring_now(wanted: Pause) -> None:
    """What work waits for, while nothing else runs. A coroutine that has to wait ends unfinished:
    it is about being faster, not about results."""
    if isinstance(wanted, list):
        realize.fetch_now(wanted)
    elif wanted is not None:
        with contextlib.suppress(StopIteration):
            wanted.send(None)
        wanted.close()


async def bring(wanted: Pause) -> None:
    """What work waits for, while other things run."""
    if isinstance(wanted, list):
        await realize.fetch(wanted)
    elif wanted is not None:
        await wanted


def through(work: Work[T]) -> T:
    """Do work to its end; what it returns."""
    problem: Exception | None = None
    while True:
        try:
            wanted = next(work) if problem is None else work.throw(problem)
            problem = None
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        try:
            bring_now(wanted)
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
        self._wanted: Pause = None  # what has to be seen to before the steps go on
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
            while self._advance_on(end, awaits):
                pass
        except StopIteration:
            self.done = True
        except BaseException:
            self.done = self._wanted is None  # else values could not be waited for: later they can
            raise
        finally:
            self._inside = False

    def _advance_on(self, end: float, awaits: bool) -> bool:
        """Steps on one engine; whether there are more to do now, on another."""
        with self._engine():
            while True:
                self._bring()
                if self._problem is None:
                    self._wanted = next(self._steps)
                else:
                    problem, self._problem = self._problem, None
                    self._wanted = self._steps.throw(problem)
                if self._wanted is None:
                    if time.perf_counter() >= end:
                        return False
                elif not isinstance(self._wanted, list):
                    if not awaits:
                        self._bring()
                    return not awaits
                elif awaits and realize.may_fail() and self._computes():
                    return False

    def _computes(self) -> bool:
        """Let the engine begin with values that are awaited next; False where it could not."""
        try:
            assert isinstance(self._wanted, list)
            realize.realize([node for node in self._wanted if node.buffer is None])
        except EngineError as error:
            self._wanted, self._problem = None, error
        return self._problem is None

    def _bring(self) -> None:
        """What the steps wait for, at once."""
        wanted, self._wanted = self._wanted, None
        try:
            bring_now(wanted)
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
        if not isinstance(wanted, list):
            self._wanted = None  # whoever lets the training finish meanwhile need not wait for it
        try:
            await bring(wanted)
        except Exception as error:
            problem = error
        if self._wanted is wanted:  # else somebody has let it finish meanwhile
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
            if not self.done:  # somebody may have let it finish meanwhile
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
