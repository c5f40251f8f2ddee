"""The application object: owns the registry of tasks and the way to the database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

from pgtask.engine.door import Door
from pgtask.engine.job import Job
from pgtask.engine.scheduling import OPTIONS, declared
from pgtask.engine.task import Task, task_name
from pgtask.engine.task_defaults import TaskDefaults
from pgtask.model.breaker import Breaker
from pgtask.model.errors import ScheduleError, TaskError
from pgtask.model.pace import Pace
from pgtask.model.retry import Exceptions, RetryPolicy, RetryRules
from pgtask.model.unique import Unique

if TYPE_CHECKING:
    from pgtask.database.pool import Pool
    from pgtask.engine.manifest import Manifest
    from pgtask.model.schedule import Schedule

F = TypeVar("F", bound=Callable[..., Any])


class PgTask(Door):
    """The tasks of an application and its connection to PostgreSQL.

    `database_url` is any libpq URL or connection string; without it PGTASK_DATABASE_URL or the configuration file says,
    and without those the embedded server is started. Nothing is opened before the first use.
    `version` names the code's version; workers register it with the tasks. `pooled`: a transaction pooler such as
    PgBouncer is in between; None asks PGTASK_POOLED or the configuration file.
    """

    def __init__(
        self, database_url: str | None = None, *, version: str | None = None, pooled: bool | None = None
    ) -> None:
        self.tasks: dict[str, Task[Any]] = {}
        self.schedules: dict[str, Schedule] = {}
        self.version = version
        # What workers were told to run it by; its schedules are known to be its own by that.
        self.name = ""
        self._url = database_url
        self._pooled = pooled
        self._pool: Pool | None = None
        self._server: Any = None
        self._opening = threading.RLock()

    @overload
    def task(self, function: F) -> Task[F]: ...

    @overload
    def task(
        self,
        *,
        name: str | None = None,
        queue: str = "default",
        priority: int | str = 1,
        max_retries: int | None = None,
        retry: RetryPolicy | None = None,
        retry_delays: Iterable[float | str | timedelta] = (),
        retry_on: Exceptions | None = None,
        stop_on: Exceptions = (),
        timeout: float | str | timedelta | None = None,
        isolation: Literal["process"] | None = None,
        memory_limit: int | None = None,
        transactional: bool = False,
        unique: Unique | None = None,
        rate_limit: str | None = None,
        rate_burst: int | None = None,
        breaker: Breaker | None = None,
    ) -> Callable[[F], Task[F]]: ...

    def task(
        self,
        function: F | None = None,
        *,
        name: str | None = None,
        queue: str = "default",
        priority: int | str = 1,
        max_retries: int | None = None,
        retry: RetryPolicy | None = None,
        retry_delays: Iterable[float | str | timedelta] = (),
        retry_on: Exceptions | None = None,
        stop_on: Exceptions = (),
        timeout: float | str | timedelta | None = None,
        isolation: Literal["process"] | None = None,
        memory_limit: int | None = None,
        transactional: bool = False,
        unique: Unique | None = None,
        rate_limit: str | None = None,
        rate_burst: int | None = None,
        breaker: Breaker | None = None,
    ) -> Task[F] | Callable[[F], Task[F]]:
        """Registers a function, plain or `async def`, as a task; with or without options.

        `name` is `module.function` unless given; `max_retries` counts attempts after the first (default 3, 0 none, -1
        no limit); `retry` is a policy such as `Retry.exponential(60, max_delay=3600)`, in whose place `retry_delays`
        gives each retry its delay (and their number, unless max_retries does); only errors in `retry_on` are retried,
        never those in `stop_on`; `timeout` of an attempt is in seconds or a text such as "5m"; `transactional` gives
        the function `ctx.connection`, whose effects are committed with the job's completion or not at all; with
        `isolation="process"` an attempt has a process to itself, where it can be ended by force and, on Linux, limited
        to `memory_limit` bytes. In the whole fleet, `rate_limit` ("100/min", `rate_burst` at once) limits starts, and
        `breaker` holds jobs while too many fail; `unique` says which jobs exclude each other.
        Raises TaskError for a bad or second declaration.
        """

        def register(function: F) -> Task[F]:
            chosen = name or task_name(function)
            if chosen in self.tasks:
                raise TaskError(f"Task {chosen} is declared twice: give one of the two another name=…")
            try:
                rules = RetryRules.build(retry_on, stop_on, retry_delays)
                pace = Pace.checked(rate_limit, rate_burst, breaker)
                defaults = TaskDefaults.checked(
                    chosen, queue, priority, max_retries, retry, timeout, isolation, memory_limit, rules, pace
                )
                task = Task(self, function, chosen, defaults, transactional=transactional, unique=unique)
            except ValueError as error:
                raise TaskError(f"Task {chosen}: {error}") from None
            self.tasks[chosen] = task
            return task

        return register if function is None else register(function)

    @overload
    def schedule(self, expression: str, task: None = None, /, **options: Any) -> Callable[[Task[F]], Task[F]]: ...

    @overload
    def schedule(self, expression: str, task: Task[F], /, **options: Any) -> Task[F]: ...

    def schedule(
        self, expression: str, task: Task[F] | None = None, /, **options: Any
    ) -> Task[F] | Callable[[Task[F]], Task[F]]:
        """Declares that a task is run again and again: above `@task`, or with the task as second argument.

        `expression` is a cron expression or "@every 5m". Options: `name` (the task's unless given), `timezone` (IANA
        name, UTC), `seconds` ("first" or "last" of six fields); the job's `payload`, `queue`, `priority`,
        `max_retries`, `timeout` and `tags`; `catchup` ("one", "none", "all", with `catchup_limit` and
        `catchup_max_age`) for ticks that nobody was there to fire; `overlap` ("queue_one", "skip", "allow",
        "cancel_running") for a tick when earlier jobs have not ended; `jitter`; `starts_at` and `ends_at`. Anything
        else is an argument of the task. Workers write the schedules to the database when they start. Raises
        ScheduleError, PayloadError, TaskError.
        """

        def register(task: Task[F]) -> Task[F]:
            named = {key: value for key, value in options.items() if key in OPTIONS}
            arguments = {key: value for key, value in options.items() if key not in OPTIONS}
            schedule = declared(task, expression, arguments, **named)
            if schedule.name in self.schedules:
                raise ScheduleError(f"Schedule {schedule.name} is declared twice: give one of the two another name=…")
            self.schedules[schedule.name] = schedule
            return task

        return register if task is None else register(task)

    def manifest(self) -> Manifest:
        """What a worker makes known of it."""
        from pgtask.engine.manifest import Manifest

        tasks = [task.registration(self.version) for task in self.tasks.values()]
        return Manifest(tasks, self.name, list(self.schedules.values()))

    @property
    def database_url(self) -> str:
        """The database used; may start the embedded server. Raises ConfigurationError, EmbeddedServerError."""
        with self._opening:
            if self._url is None:
                from pgtask.config import load_settings

                settings = load_settings()
                self._url = settings.database_url or self._start_embedded(settings.home)
            return self._url

    def adopt(self, database_url: str, *, pooled: bool) -> None:
        """Uses the database of the worker that runs this application, unless it was given another."""
        if self._url is None:
            self._url = database_url
            self._pooled = pooled if self._pooled is None else self._pooled

    @property
    def pooled(self) -> bool:
        """Whether the database is reached through a transaction pooler."""
        if self._pooled is None:
            from pgtask.config import load_settings

            self._pooled = load_settings().pooled
        return self._pooled

    def _start_embedded(self, home: Path) -> str:
        from pgtask.database import embedded, migrations

        self._server = embedded.start(home)
        url: str = self._server.url
        if migrations.status(url).current is None:
            # Nobody else will give a server of our own its schema.
            migrations.migrate(url)
        return url

    @property
    def pool(self) -> Pool:
        """The connections this application enqueues through."""
        with self._opening:
            if self._pool is None:
                from pgtask.database.pool import Pool

                self._pool = Pool(self.database_url, pooled=self.pooled)
            return self._pool

    @contextmanager
    def on_database(self, database_url: str) -> Iterator[Self]:
        """Works on another database for the block; connections are closed before and after. For tests."""
        self.close()
        before, self._url = self._url, database_url
        try:
            yield self
        finally:
            self.close()
            self._url = before

    def job(self, id: int) -> Job:
        """The job with this id. Raises JobNotFoundError."""
        return Job(self, id).refresh()

    def close(self) -> None:
        """Closes what was opened; the application may be used again."""
        with self._opening:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
        if self._server is not None:
            self._server.close()
            self._server = None
            self._url = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
