"""Workers over HTTP: registering, living, taking jobs, leaving."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import request
from pydantic import Field

from pgtask.database import remote
from pgtask.database.connection import Connection
from pgtask.engine import remote_workers
from pgtask.model.errors import QueueNotFoundError, TaskError, WorkerGoneError
from pgtask.model.pace import Pace
from pgtask.model.payload import encode
from pgtask.model.token import Scope

from ..contract import Answer, Section
from ..document import BASE
from ..fields import WHOLE, Duration, Priority, Text
from ..inputs import Body
from ..requests import caller, require_all_queues, require_queue
from ..serving import Attempt, JobId, Short, TaskName, WorkerId, counter, live_worker, own_worker, within
from ..shapes import Shape

section = Section(
    "worker protocol", "Workers over HTTP, in any language: register, then fetch jobs, run them, and send heartbeats."
)


class TaskDeclaration(Body):
    """A task with what its jobs get unless they say otherwise, in place of what was declared of it before."""

    name: TaskName
    queue: Short = "default"
    priority: Priority = 1
    max_retries: Annotated[int, Field(ge=-1, le=2**31 - 1), WHOLE] | None = None
    retry_strategy: Literal["fixed", "linear", "exponential"] | None = None
    retry_delay: Duration | None = None
    max_retry_delay: Duration | None = None
    timeout: float | None = Field(None, gt=0, le=1e9)
    """Seconds."""
    payload_schema: dict[str, Any] | None = None
    """JSON schema of the payload."""

    def row(self, version: str) -> dict[str, Any]:
        """Its row in the table tasks."""
        schema = None if self.payload_schema is None else encode(self.payload_schema, "payload_schema")
        row = self.model_dump() | {"payload_schema": schema, "code_version": version or None}
        return row | Pace().columns()


class Registration(Body):
    """One start of a worker."""

    tasks: list[TaskName | TaskDeclaration] = Field(min_length=1, max_length=1000)
    """What it runs. A name alone leaves what is declared of the task as it is."""
    slots: Annotated[int, Field(ge=1, le=10_000), WHOLE] = 1
    """Jobs that it runs at once. What crashed a process before is only given to workers with one slot."""
    queues: list[Short] | None = Field(None, min_length=1, max_length=1000)
    """Null serves all."""
    lease: float = Field(30.0, ge=1, le=3600)
    """Seconds without a heartbeat after which its jobs are given to others."""
    name: Short | None = None
    host: Short | None = None
    """Null: the address that it has here."""
    pid: Annotated[int, Field(ge=0, le=2**31 - 1), WHOLE] = 0
    version: Annotated[Text, Field(max_length=128)] = ""


class RegisteredShape(Shape):
    """A worker's identity, and how it is to behave."""

    worker_id: int
    lease: float
    """Seconds."""
    heartbeat_every: float
    """Seconds between two heartbeats."""
    longest_wait: float
    """The most that `wait` of a fetch may be, in seconds."""


class HeldAttempt(Body):
    """An attempt at a job."""

    id: JobId
    attempt: Attempt


class Beat(Body):
    """What a worker holds: all it was given whose end the server has not yet acknowledged."""

    worker_id: WorkerId
    jobs: list[HeldAttempt] = Field(default=[], max_length=10_000)
    cpu_percent: float | None = Field(None, ge=0, le=1e6)
    """Of one core."""
    rss_bytes: Annotated[int, Field(ge=0, le=2**50), WHOLE] | None = None
    quiet: bool = False
    """Whether it takes no more jobs for now."""
    completed: Annotated[int, Field(ge=0, le=2**63 - 1), WHOLE] | None = None
    """Attempts that have completed there since it registered, for the metrics; null leaves what it told before."""
    unsuccessful: Annotated[int, Field(ge=0, le=2**63 - 1), WHOLE] | None = None
    """Attempts that have ended otherwise."""


class AttemptShape(Shape):
    """An attempt at a job."""

    id: int
    attempt: int


class BeatShape(Shape):
    """What became of the jobs that were named."""

    lost: list[AttemptShape]
    """No longer this worker's: stop them, and report nothing of them."""
    cancel: list[AttemptShape]
    """Stop them, and report them as failed with the outcome `cancelled`."""
    stop: bool
    """Whether somebody asked the worker to shut down."""
    lease: float


class Leave(Body):
    """Which worker leaves."""

    worker_id: WorkerId


@section.post(
    "/workers/register",
    scope=Scope.WORKER,
    answer=RegisteredShape,
    status=201,
    problems={404},
    audited=False,
)
def register_worker(connection: Connection, body: Registration) -> Answer:
    """Make a worker known.

    Its id is new, and belongs to the token. After an answer that did not arrive, register again: the first id ends by
    itself.
    """
    plain = [task for task in body.tasks if isinstance(task, str)]
    declared = [task for task in body.tasks if not isinstance(task, str)]
    for task in declared:
        _check(task)
        require_queue(task.queue, QueueNotFoundError(task.queue, ()))
    if declared:
        require_all_queues()
    host = body.host or request.remote_addr or "http"
    id = remote.register(
        connection,
        names=plain,
        tasks=[task.row(body.version) for task in {task.name: task for task in declared}.values()],
        name=body.name or f"http-{host}-{body.pid}",
        host=host,
        pid=body.pid,
        version=body.version,
        queues=within(body.queues),
        slots=body.slots,
        lease=body.lease,
        token=caller().name,
    )
    content = {"worker_id": id, "lease": body.lease, "heartbeat_every": body.lease / 3, "longest_wait": 30.0}
    return Answer(content, headers={"Location": f"{BASE}/workers/{id}"})


def _check(task: TaskDeclaration) -> None:
    if len(task.name.encode()) > 256 or len(task.queue.encode()) > 128:
        raise TaskError(f"Task {task.name}: a task's name has 1 to 256 bytes, a queue's 1 to 128.")


@section.post("/workers/heartbeat", scope=Scope.WORKER, answer=BeatShape, problems={404, 410}, audited=False)
def send_heartbeat(body: Beat) -> dict[str, Any]:
    """Renew a worker's lease.

    To be sent every third of the lease. What the worker was given before its last heartbeat and does not name in this
    one goes back to the others, free of charge.
    """
    worker = live_worker(body.worker_id)
    beat = remote_workers.heartbeat(
        counter(),
        worker,
        [(job.id, job.attempt) for job in body.jobs],
        cpu_percent=body.cpu_percent,
        rss_bytes=body.rss_bytes,
        quiet=body.quiet,
        counts=(body.completed, body.unsuccessful),
    )
    if not beat.alive:
        raise WorkerGoneError(worker.id)
    return {
        "lost": [{"id": id, "attempt": attempt} for id, attempt in beat.lost],
        "cancel": [{"id": id, "attempt": attempt} for id, attempt in beat.cancel],
        "stop": beat.stop,
        "lease": worker.lease,
    }


@section.post("/workers/deregister", scope=Scope.WORKER, status=204, problems={404, 410}, audited=False)
def deregister_worker(body: Leave) -> None:
    """End a worker in good order.

    What it still holds goes back to the others, free of charge.
    """
    worker = own_worker(body.worker_id)
    if not worker.dead:
        remote_workers.sign_off(counter(), worker)
