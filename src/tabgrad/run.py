"""Run: a training under way. The laptop runs it through, a page a slice at a time.

It knows a generator of steps and the Variables they change, and nothing of models.
"""

from __future__ import annotations

import asyncio
import math
import time
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from tabgrad.tensor import Node
from tabgrad.variable import Variable, scope

# A page repaints about 60 times a second; a slice of training leaves it the time.
_SLICE_SECONDS = 0.012


class Run:
    """A training that is under way: on the laptop it runs through, in a page slice by slice.

    Args:
        steps: the generator of its steps.
        variables: what it changes. Nobody else reads them before it has finished.
        engine: a context in which the steps run.
    """

    def __init__(
        self,
        steps: Generator[None, None, Any],
        variables: Sequence[Variable],
        engine: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.done = False
        self._steps = steps
        self._engine = engine
        self._inside = False
        self._error: BaseException | None = None
        self._task: asyncio.Future[None] | None = None
        self._guarded = {id(v) for v in variables}
        self._guard = scope(self)

    def advance(self, seconds: float = math.inf) -> None:
        """Run steps for about this long, at least one."""
        end = time.perf_counter() + seconds
        self._inside = True
        try:
            with self._engine():
                while True:
                    next(self._steps)
                    if time.perf_counter() >= end:
                        return
        except StopIteration:
            self.done = True
        except BaseException:
            self.done = True
            raise
        finally:
            self._inside = False

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
            self._slice(_SLICE_SECONDS)
            await asyncio.sleep(0)

    def _slice(self, seconds: float) -> None:
        try:
            self.advance(seconds)
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
