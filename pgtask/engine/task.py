"""A function registered as a task, and the ways to enqueue it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from pgtask.engine import uniqueness
from pgtask.engine.checks import (
    Duration,
    aware,
    checked_key,
    checked_retries,
    checked_timeout,
)
from pgtask.engine.context import JobContext
from pgtask.engine.job import Job
from pgtask.engine.task_defaults import TaskDefaults
from pgtask.model.duration import parse_duration
from pgtask.model.errors import PayloadError, TaskError
from pgtask.model.job import NewJob
from pgtask.model.payload import encode
from pgtask.model.retry import RetryPolicy
from pgtask.model.signature import Signature
from pgtask.model.status import parse_priority
from pgtask.model.unique import OnConflict, Scope, Unique

F = TypeVar("F", bound=Callable[..., Any])


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
        self,
        app: Enqueuer,
        function: F,
        name: str,
        defaults: TaskDefaults,
        *,
        transactional: bool = False,
        unique: Unique | None = None,
    ) -> None:
        """Raises TaskError for a function that a transactional task cannot be, ValueError for a bad `unique`."""
        self.app = app
        self.function = function
        self.name = name
        self.defaults = defaults
        self.isolated = defaults.isolation == "process"
        self.is_coroutine = inspect.iscoroutinefunction(function)
        self.signature = Signature(function, name, JobContext)
        self.context_parameter = self.signature.context_parameter
        self.transactional = transactional
        self._unique = unique
        self._unique_fields = uniqueness.declared(unique, self.signature)
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
        unique_by: Iterable[str] | bool | None = None,
        unique_scope: Scope | None = None,
        unique_window: Duration | None = None,
        on_conflict: OnConflict | None = None,
        max_wait: Duration | None = None,
        max_retries: int | None = None,
        retry: RetryPolicy | None = None,
        timeout: Duration | None = None,
        tags: Iterable[str] = (),
        traceparent: str | None = None,
        concurrency_key: str | None = None,
        start_by: datetime | None = None,
        expires: Duration | None = None,
        connection: Any = None,
    ) -> BoundTask:
        """The task with options for the jobs enqueued through it.

        `delay` and `timeout` are seconds, timedeltas or texts such as "5m"; `scheduled_at` must be aware; `unique_key`
        makes enqueue return the live job that already holds it, and the five after it change that as the fields of
        Unique do (`unique_by=False`: not unique after all); jobs with the same `concurrency_key` run by as many at
        once as their queue's max_workers_per_key says, one by one unless it does; what has not started by `start_by`,
        or within `expires` from being enqueued, is cancelled, retries too; `connection` puts the job into the caller's
        transaction: a psycopg connection, a Session or Connection of SQLAlchemy (for `enqueue_async` their asyncio
        twins), or `django.db.connection`, all on psycopg 3. Raises PayloadError for a value out of range.
        """
        if delay is not None and scheduled_at is not None:
            raise PayloadError(f"Task {self.name}: give delay or scheduled_at, not both")
        if start_by is not None and expires is not None:
            raise PayloadError(f"Task {self.name}: give start_by or expires, not both")
        try:
            job = NewJob(
                task=self.name,
                queue=self.defaults.queue,
                priority=self.defaults.priority,
                delay=None if delay is None else parse_duration(delay),
                scheduled_at=aware("scheduled_at", scheduled_at),
                tags=tuple(tags),
                traceparent=traceparent,
                **uniqueness.chosen(
                    self._unique,
                    self.signature,
                    unique_key=unique_key,
                    unique_by=unique_by,
                    unique_scope=unique_scope,
                    unique_window=unique_window,
                    on_conflict=on_conflict,
                    max_wait=max_wait,
                ),
                concurrency_key=checked_key(concurrency_key),
                start_by=aware("start_by", start_by),
                expires=None if expires is None else parse_duration(expires),
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
        defaults = self.defaults
        return NewJob(task=self.name, queue=defaults.queue, priority=defaults.priority, **self._unique_fields)

    def enqueue(self, **payload: Any) -> Job:
        """Enqueues one job with these arguments.

        Raises PayloadError when they do not fit the function or cannot be stored, UniqueConflictError when its unique
        key is held and `on_conflict` is "error", DatabaseUnavailableError when PostgreSQL does not answer.
        """
        return BoundTask(self, self._new_job(), None).enqueue(**payload)

    def enqueue_many(self, payloads: Iterable[Mapping[str, Any]]) -> list[Job]:
        """Enqueues a job for each of these sets of arguments, all or none; long lists go by COPY.

        Raises PayloadError, also for unique jobs: some of them might be let in and others not.
        """
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
        self._job.check_deadline()
        return self._task.app.enqueue_encoded(self._job, self._task.encode(payload), self._connection)

    def enqueue_many(self, payloads: Iterable[Mapping[str, Any]]) -> list[Job]:
        """As `Task.enqueue_many`. Raises PayloadError for unique jobs."""
        if self._job.unique_key is not None:
            raise PayloadError("enqueue_many takes no unique_key: it would let only the first job in")
        if self._job.unique_by is not None:
            raise PayloadError(
                f"Task {self._job.task}: enqueue_many takes no unique jobs. Enqueue them one by one, in a transaction "
                "for all or none, or say options(unique_by=False)."
            )
        self._job.check_deadline()
        texts = [self._task.encode(payload) for payload in payloads]
        return self._task.app.enqueue_many_encoded(self._job, texts, self._connection)

    async def enqueue_async(self, **payload: Any) -> Job:
        """As `Task.enqueue_async`."""
        self._job.check_deadline()
        return await self._task.app.enqueue_encoded_async(self._job, self._task.encode(payload), self._connection)


def task_name(function: Callable[..., Any]) -> str:
    """`module.function` for a function. Raises TaskError for one that cannot be named."""
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None)
    if not module or not name or "<lambda>" in name:
        raise TaskError(f"{function!r} has no name of its own: pass name=… to task()")
    return f"{module}.{name.replace('.<locals>', '')}"
