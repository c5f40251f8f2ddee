"""Calling a task's function for an attempt: what is common to threads and asyncio."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pgtask.engine import classify
from pgtask.engine.attempt import Attempt
from pgtask.engine.context import JobContext
from pgtask.engine.solitude import memory_limit
from pgtask.engine.task import Task
from pgtask.model.errors import PayloadError

if TYPE_CHECKING:
    from pgtask.engine.transactions import Transactions
    from pgtask.model.dead_letter import DeadLetter


class Handlers:
    """The functions of an executor's tasks, and how each is called."""

    def __init__(
        self,
        tasks: Mapping[str, Task[Any]],
        on_progress: Callable[[Attempt, int, str | None], None],
        on_log: Callable[[Attempt, float, int, str, str], None],
        transactions: Transactions | None = None,
        read_dead_letter: Callable[[int], DeadLetter | None] = lambda id: None,  # noqa: ARG005
    ) -> None:
        self._functions = {name: _limited(task) for name, task in tasks.items()}
        self._contexts = {name: task.context_parameter for name, task in tasks.items() if task.context_parameter}
        self._signatures = {name: task.signature for name, task in tasks.items()}
        self._on_progress = on_progress
        self._on_log = on_log
        self._read_dead_letter = read_dead_letter
        self.transactions = transactions
        self._rules = {name: task.defaults.rules for name, task in tasks.items() if task.defaults.rules}

    def conclude(self, attempt: Attempt, error: BaseException) -> None:
        """Notes that the attempt ended with `error`, by the rules of its task."""
        if isinstance(error, BadPayloadError):
            classify.refused(attempt, error)
        else:
            classify.raised(attempt, error, self._rules.get(attempt.task))

    def call(self, attempt: Attempt) -> Any:
        """Calls the function with the payload as keyword arguments; a coroutine function's answer is to be awaited.

        Raises BadPayloadError when the payload is no object or could not be decoded, and what the function raises.
        """
        payload = attempt.payload
        if attempt.task in self._contexts:
            payload = self._with_context(attempt)
        try:
            return self._functions[attempt.task](**payload)
        except TypeError:
            # Most likely the arguments do not fit; say so in the words that enqueue would have used.
            if isinstance(payload, dict):
                self._check(attempt)
                raise
            raise bad_payload(attempt.payload) from None

    def _with_context(self, attempt: Attempt) -> dict[str, Any]:
        if not isinstance(attempt.payload, dict):
            raise bad_payload(attempt.payload)
        attempt.context = JobContext(
            attempt, self._on_progress, self._on_log, self.transactions, self._read_dead_letter
        )
        return {**attempt.payload, self._contexts[attempt.task]: attempt.context}

    def _check(self, attempt: Attempt) -> None:
        self._signatures[attempt.task].check(attempt.payload)

    def wants_interrupt(self, attempt: Attempt) -> bool:
        """Whether a cancel request is raised in it, for want of a JobContext to look at or of anything to clean up."""
        if self.transactions is not None and attempt.task in self.transactions.tasks:
            return True
        return attempt.task not in self._contexts


def _limited(task: Task[Any]) -> Callable[..., Any]:
    limit = task.defaults.memory_limit
    function: Callable[..., Any] = task.function
    if limit is None:
        return function
    if task.is_coroutine:

        async def limited_coroutine(**payload: Any) -> Any:
            with memory_limit(limit):
                return await function(**payload)

        return limited_coroutine

    def limited(**payload: Any) -> Any:
        with memory_limit(limit):
            return function(**payload)

    return limited


class BadPayloadError(PayloadError):
    """The payload cannot be handed to any function."""


def bad_payload(payload: Any) -> BadPayloadError:
    """The error for a payload that is no JSON object."""
    if isinstance(payload, PayloadError):
        return BadPayloadError(str(payload))
    return BadPayloadError(f"The payload must be a JSON object of keyword arguments, not {type(payload).__name__}")
