"""A function registered as a task, and the ways to enqueue it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

from pgtask.engine.context import JobContext
from pgtask.engine.job import Job
from pgtask.model.duration import parse_duration
from pgtask.model.errors import PayloadError, TaskError
from pgtask.model.job import NewJob
from pgtask.model.pace import Pace
from pgtask.model.payload import encode
from pgtask.model.retry import RetryPolicy, RetryRules
from pgtask.model.signature import Signature
from pgtask.model.status import parse_priority

F = TypeVar("F", bound=Callable[..., Any])
Duration = float | str | timedelta


@dataclass(frozen=True, slots=True)
class TaskDefaults:
    """What jobs of a task get unless they say otherwise; None inherits from the queue, then the built-in policy."""

    queue: str = "default"
    priority: int = 1
    max_retries: int | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: float | None = None
    isolation: str | None = None
    memory_limit: int | None = None
    rules: RetryRules | None = None
    pace: Pace = field(default_factory=Pace)

    @classmethod
    def checked(
        cls,
        task: str,
        queue: str,
        priority: int | str,
        max_retries: int | None,
        retry: RetryPolicy | None,
        timeout: Duration | None,
        isolation: str | None,
        memory_limit: int | None,
        rules: RetryRules | None,
        pace: Pace,
    ) -> TaskDefaults:
        """What was declared for the task of this name; as many retries as there are delays, unless it says.

        Raises ValueError.
        """
        if not 1 <= len(task.encode()) <= 256 or not 1 <= len(queue.encode()) <= 128:
            raise ValueError("a task's name has 1 to 256 bytes, a queue's 1 to 128")
        retries = len(rules.delays) if max_retries is None and rules and rules.delays else max_retries
        return cls(
            queue=queue,
            priority=parse_priority(priority),
            max_retries=None if retries is None else checked_retries(retries),
            retry=retry or RetryPolicy(),
            timeout=None if timeout is None else checked_timeout(timeout),
            isolation=checked_isolation(isolation, memory_limit),
            memory_limit=memory_limit,
            rules=rules,
            pace=pace,
        )


class Enqueuer(Protocol):
    """What a task needs of its application."""

    def enqueue_encoded(self, job: NewJob, payload: str, connection: Any = None) -> Job:
        """Enqueues a job whose payload is JSON text."""

    def enqueue_many_encoded(self, job: NewJob, payloads: list[str], connection: Any = None) -> list[Job]:
        """Enqueues a job for each text."""

    async def enqueue_encoded_async(self, job: NewJob, payload: str, connection: Any = None) -> Job:
        """`enqueue_encoded` for asyncio."""


class Task(Generic[F]):
    """A function that can be enqueued. Calling it runs it here and now, as if it were no task."""

    def __init__(
        self, app: Enqueuer, function: F, name: str, defaults: TaskDefaults, *, transactional: bool = False
    ) -> None:
        """Raises TaskError for a function that a transactional task cannot be."""
        self.app = app
        self.function = function
        self.name = name
        self.defaults = defaults
        self.isolated = defaults.isolation == "process"
        self.is_coroutine = inspect.iscoroutinefunction(function)
        self.signature = Signature(function, name, JobContext)
        self.context_parameter = self.signature.context_parameter
        self.transactional = transactional
        if transactional:
            self._check_transactional()
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def _check_transactional(self) -> None:
        if self.is_coroutine:
            raise TaskError(
                f"Task {self.name}: a transactional task is a plain function; coroutine functions cannot be one yet"
            )
        if self.context_parameter is None:
            raise TaskError(
                f"Task {self.name} is transactional but takes no JobContext: add a parameter `ctx: JobContext` and use "
                "ctx.connection"
            )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the function directly."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def options(
        self,
        *,
        queue: str | None = None,
        priority: int | str | None = None,
        delay: Duration | None = None,
        scheduled_at: datetime | None = None,
        unique_key: str | None = None,
        max_retries: int | None = None,
        retry: RetryPolicy | None = None,
        timeout: Duration | None = None,
        tags: Iterable[str] = (),
        traceparent: str | None = None,
        connection: Any = None,
    ) -> BoundTask:
        """The task with options for the jobs enqueued through it.

        `delay` and `timeout` are seconds, timedeltas or texts such as "5m"; `scheduled_at` must be aware; `unique_key`
        makes enqueue return the live job that already holds it; `connection` puts the job into the caller's
        transaction: a psycopg connection, a Session or Connection of SQLAlchemy (for `enqueue_async` their asyncio
        twins), or `django.db.connection`, all on psycopg 3. Raises PayloadError for a value out of range.
        """
        if delay is not None and scheduled_at is not None:
            raise PayloadError(f"Task {self.name}: give delay or scheduled_at, not both")
        try:
            job = replace(
                self._new_job(),
                delay=None if delay is None else parse_duration(delay),
                scheduled_at=_aware(scheduled_at),
                unique_key=unique_key,
                tags=tuple(tags),
                traceparent=traceparent,
            )
            if queue is not None:
                job = replace(job, queue=queue)
            if priority is not None:
                job = replace(job, priority=parse_priority(priority))
            if max_retries is not None:
                job = replace(job, max_retries=checked_retries(max_retries))
            if timeout is not None:
                job = replace(job, timeout=checked_timeout(timeout))
        except ValueError as error:
            raise PayloadError(f"Task {self.name}: {error}") from None
        if retry is not None:
            job = replace(
                job,
                retry_strategy=retry.strategy,
                retry_delay=retry.delay,
                max_retry_delay=retry.max_delay,
            )
        return BoundTask(self, job, connection)

    def _new_job(self) -> NewJob:
        # Retry policy and timeout stay with the task's row in the database, so that a change of the code's defaults
        # reaches jobs that are already waiting.
        return NewJob(task=self.name, queue=self.defaults.queue, priority=self.defaults.priority)

    def enqueue(self, **payload: Any) -> Job:
        """Enqueues one job with these arguments.

        Raises PayloadError when they do not fit the function or cannot be stored, DatabaseUnavailableError when
        PostgreSQL does not answer.
        """
        return BoundTask(self, self._new_job(), None).enqueue(**payload)

    def enqueue_many(self, payloads: Iterable[Mapping[str, Any]]) -> list[Job]:
        """Enqueues a job for each of these sets of arguments, all or none; long lists go by COPY."""
        return BoundTask(self, self._new_job(), None).enqueue_many(payloads)

    async def enqueue_async(self, **payload: Any) -> Job:
        """`enqueue` for code that runs on asyncio."""
        return await BoundTask(self, self._new_job(), None).enqueue_async(**payload)

    def encode(self, payload: Mapping[str, Any]) -> str:
        """The payload as JSON text, once it fits the signature. Raises PayloadError."""
        self.signature.check(payload)
        return encode(payload)

    def registration(self, code_version: str | None) -> dict[str, Any]:
        """The row of this task in the table tasks."""
        defaults = self.defaults
        return {
            "name": self.name,
            "queue": defaults.queue,
            "priority": defaults.priority,
            "max_retries": defaults.max_retries,
            "retry_strategy": defaults.retry.strategy,
            "retry_delay": defaults.retry.delay,
            "max_retry_delay": defaults.retry.max_delay,
            "timeout": defaults.timeout,
            "payload_schema": encode(self.signature.schema),
            "code_version": code_version,
            **defaults.pace.columns(),
        }


class BoundTask:
    """A task with the options for its next jobs; made by `Task.options`."""

    __slots__ = ("_connection", "_job", "_task")

    def __init__(self, task: Task[Any], job: NewJob, connection: Any) -> None:
        self._task = task
        self._job = job
        self._connection = connection

    def enqueue(self, **payload: Any) -> Job:
        """As `Task.enqueue`."""
        return self._task.app.enqueue_encoded(self._job, self._task.encode(payload), self._connection)

    def enqueue_many(self, payloads: Iterable[Mapping[str, Any]]) -> list[Job]:
        """As `Task.enqueue_many`. Raises PayloadError when a unique_key is set: one key cannot serve many jobs."""
        if self._job.unique_key is not None:
            raise PayloadError("enqueue_many takes no unique_key: it would let only the first job in")
        texts = [self._task.encode(payload) for payload in payloads]
        return self._task.app.enqueue_many_encoded(self._job, texts, self._connection)

    async def enqueue_async(self, **payload: Any) -> Job:
        """As `Task.enqueue_async`."""
        return await self._task.app.enqueue_encoded_async(self._job, self._task.encode(payload), self._connection)


def checked_retries(value: int) -> int:
    """Raises ValueError for a number of retries that means nothing."""
    if type(value) is not int or value < -1:
        raise ValueError(f"max_retries {value!r} means nothing: give 0 or more, or -1 for no limit")
    return value


def checked_timeout(value: Duration) -> float:
    """Raises ValueError for a timeout that is no positive duration."""
    seconds = parse_duration(value)
    if seconds <= 0:
        raise ValueError("a timeout must be longer than 0 s")
    return seconds


def checked_isolation(isolation: str | None, memory_limit: int | None) -> str | None:
    """Raises ValueError for an isolation that does not exist, and for a limit of memory that others would share."""
    if isolation not in (None, "process"):
        raise ValueError(f'isolation {isolation!r} does not exist: give "process", or leave it out')
    if memory_limit is not None and (isolation is None or memory_limit <= 0):
        raise ValueError('a memory_limit is a number of bytes and needs isolation="process"')
    return isolation


def _aware(instant: datetime | None) -> datetime | None:
    if instant is not None and instant.utcoffset() is None:
        raise ValueError(f"scheduled_at {instant.isoformat()} has no time zone: give an aware datetime")
    return instant


def task_name(function: Callable[..., Any]) -> str:
    """`module.function` for a function. Raises TaskError for one that cannot be named."""
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None)
    if not module or not name or "<lambda>" in name:
        raise TaskError(f"{function!r} has no name of its own: pass name=… to task()")
    return f"{module}.{name.replace('.<locals>', '')}"
