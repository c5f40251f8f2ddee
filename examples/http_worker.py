"""A pgtask worker over HTTP that needs nothing but Python's standard library: copy it, and put your tasks into TASKS.

PGTASK_SERVER=http://127.0.0.1:8080 PGTASK_TOKEN=pgt_… python http_worker.py    (scope of the token: worker)
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

SERVER = os.environ.get("PGTASK_SERVER", "http://127.0.0.1:8080")
TOKEN = os.environ["PGTASK_TOKEN"]
SLOTS = int(os.environ.get("PGTASK_SLOTS", "4"))
LEASE = float(os.environ.get("PGTASK_LEASE", "30"))
GRACE = float(os.environ.get("PGTASK_GRACE", "30"))


class Refused(Exception):
    """The server says no: 409, the job is no longer ours; 410, we are no longer a worker."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Cancelled(Exception):
    """The job is to stop."""


def call(path: str, body: dict[str, Any], *, patient: bool = True, timeout: float = 60) -> Any:
    """Sends a request, again and again while the server is away or busy. All of them may be repeated."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{SERVER}/api/v1{path}", json.dumps(body).encode(), headers)
    while True:
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return json.loads(response.read() or "null")
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise Refused(error.code, error.read().decode()) from None
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            pass
        if not patient:
            return None
        time.sleep(random.uniform(0.1, 2))


class Job:
    """What a task may ask and tell while it runs."""

    def __init__(self, worker_id: int, given: dict[str, Any]) -> None:
        self.id, self.attempt, self.task = given["id"], given["attempt"], given["task"]
        self.payload, self.retry_count, self.timeout = given["payload"], given["retry_count"], given["timeout"]
        self.key = {"worker_id": worker_id, "attempt": self.attempt}
        self.began = time.monotonic()
        self.cancel, self.lost, self.completed = given["cancel"], False, False

    def check(self) -> None:
        """To be called now and then: ends a job that was cancelled, lost, or has run for too long."""
        if self.cancel or self.lost:
            raise Cancelled("it was asked to stop")
        if self.timeout is not None and time.monotonic() - self.began > self.timeout:
            raise TimeoutError(f"it ran longer than its timeout of {self.timeout:g} s")

    def progress(self, percent: float, message: str | None = None) -> None:
        """Tells how far it is."""
        told = self.tell("progress", percent=percent, message=message)
        self.cancel = self.cancel or told["cancel"]
        self.check()

    def tell(self, what: str, **more: Any) -> Any:
        """Reports to the server."""
        return call(f"/jobs/{self.id}/{what}", self.key | more)

    def run(self) -> None:
        """Runs it, and tells how it ended."""
        try:
            ending: dict[str, Any] = {"result": TASKS[self.task](self, **self.payload)}
            # What is no JSON is the job's own failure.
            json.dumps(ending, allow_nan=False)
        except BaseException as error:  # noqa: BLE001 - a task may raise anything
            outcomes: dict[type, str] = {Cancelled: "cancelled", TimeoutError: "timeout"}
            outcome = outcomes.get(type(error), "failed")
            ending = {"error": str(error), "error_type": type(error).__name__, "outcome": outcome}
            ending["traceback"] = traceback.format_exc()
        ending["seconds"] = time.monotonic() - self.began
        try:
            if not self.lost:
                told = self.tell("complete" if "result" in ending else "fail", **ending)
                self.completed = told["outcome"] == "completed"
        except Refused as refusal:
            print(f"job {self.id}: {refusal}", flush=True)
            if refusal.status in (400, 413, 422):
                # The server cannot read it, or it is too large. Not told, the job would run again and again.
                self.tell("fail", error=f"The server refused how it ended: {refusal}", error_type="Refused")


class Worker:
    """Fetches jobs, runs each in a thread, and lives by its heartbeats."""

    def __init__(self) -> None:
        self.jobs: dict[tuple[int, int], Job] = {}
        self.ended = threading.Event()
        self.stopping = threading.Event()
        self.fetching = False
        self.counting = threading.Lock()
        self.completed = self.unsuccessful = 0

    def register(self) -> None:
        """Becomes a worker, with an id that is new."""
        about = {"tasks": list(TASKS), "slots": SLOTS, "lease": LEASE, "pid": os.getpid(), "host": socket.gethostname()}
        self.id = call("/workers/register", about)["worker_id"]
        self.completed = self.unsuccessful = 0
        print(f"worker {self.id} ready", flush=True)

    def live(self) -> None:
        """Sends heartbeats. A job is named until its end is acknowledged."""
        pause = LEASE / 3
        while True:
            time.sleep(pause)
            held = [{"id": id, "attempt": attempt} for id, attempt in list(self.jobs)]
            about = {"jobs": held, "completed": self.completed, "unsuccessful": self.unsuccessful}
            try:
                told = call("/workers/heartbeat", {"worker_id": self.id} | about, patient=False, timeout=LEASE / 3)
            except Refused as refusal:
                print(f"worker {self.id}: {refusal}", flush=True)
                if refusal.status in (404, 410):
                    self.begin_anew()
                continue
            # One that was not answered, or refused because there are too many requests, is sent again soon.
            pause = LEASE / 3 if told else LEASE / 30
            for job in told["cancel"] + told["lost"] if told else []:
                known = self.jobs.get((job["id"], job["attempt"]))
                if known is not None:
                    known.cancel, known.lost = True, known.lost or job in told["lost"]
            if told and told["stop"]:
                os.kill(os.getpid(), signal.SIGTERM)

    def begin_anew(self) -> None:
        """Our jobs are others' now. A server that does not take us either is asked again at the next heartbeat."""
        for job in list(self.jobs.values()):
            job.lost = True
        try:
            self.register()
        except Refused as refusal:
            print(f"not registered: {refusal}", flush=True)

    def work(self) -> None:
        """Fetches until it is told to stop, then lets the running jobs end."""
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        self.register()
        threading.Thread(target=self.live, daemon=True).start()
        while not self.stopping.is_set():
            if len(self.jobs) < SLOTS:
                self.fetch()
            else:
                self.ended.wait(0.2)
                self.ended.clear()
        deadline = time.monotonic() + GRACE
        while self.jobs and time.monotonic() < deadline:
            time.sleep(0.05)
        call("/workers/deregister", {"worker_id": self.id})

    def stop(self, *_: object) -> None:
        """Ends the fetch that waits; what it may still bring goes back when we deregister."""
        self.stopping.set()
        if self.fetching:
            raise InterruptedError

    def fetch(self) -> None:
        """Takes as many jobs as there are free slots."""
        self.fetching = not self.stopping.is_set()
        try:
            limit = SLOTS - len(self.jobs)
            told = call("/workers/fetch", {"worker_id": self.id, "limit": limit, "wait": 20}, patient=False)
        except (Refused, InterruptedError):
            told = None
        finally:
            self.fetching = False
        for given in told["jobs"] if told else []:
            job = Job(self.id, given)
            self.jobs[job.id, job.attempt] = job
            threading.Thread(target=self.run, args=[job], daemon=True).start()
        if not self.stopping.is_set():
            time.sleep(told["fetch_again_in"] if told else 1)

    def run(self, job: Job) -> None:
        """Runs a job in a slot."""
        try:
            job.run()
        finally:
            with self.counting:
                self.completed += job.completed
                self.unsuccessful += not job.completed
            del self.jobs[job.id, job.attempt]
            self.ended.set()


def add(job: Job, a: float, b: float) -> float:
    """The sum of two numbers."""
    del job
    return a + b


def flaky(job: Job, failures: int) -> str:
    """Fails so many times."""
    if job.retry_count < failures:
        raise ValueError(f"failure {job.retry_count + 1} of {failures}")
    return "at last"


def count(job: Job, to: int, pause: float = 0.1) -> int:
    """Counts, slowly."""
    for number in range(to):
        job.progress(100 * number / to, f"{number} of {to}")
        time.sleep(pause)
    return to


TASKS: dict[str, Callable[..., Any]] = {"add": add, "flaky": flaky, "count": count}

if __name__ == "__main__":
    Worker().work()
