"""A worker over HTTP, as a test drives it by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from werkzeug.test import TestResponse

from tests.api_client import Api


@dataclass(slots=True)
class Remote:
    """One registered worker; every answer is checked against the document."""

    api: Api
    id: int

    def beat(self, *jobs: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Sends a heartbeat that names these jobs."""
        answer = self.api.post(
            "/workers/heartbeat", {"worker_id": self.id, "jobs": [_pair(job) for job in jobs]} | more
        )
        assert answer.status_code == 200, answer.get_data(as_text=True)
        found: dict[str, Any] = answer.get_json()
        return found

    def fetch(self, limit: int = 10, **more: Any) -> list[dict[str, Any]]:
        """Takes jobs."""
        answer = self.api.post("/workers/fetch", {"worker_id": self.id, "limit": limit} | more)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        found: list[dict[str, Any]] = answer.get_json()["jobs"]
        return found

    def one(self, **more: Any) -> dict[str, Any]:
        """Takes one job, which must be there."""
        [job] = self.fetch(1, **more)
        return job

    def tell(self, what: str, job: dict[str, Any], **more: Any) -> TestResponse:
        """Says what became of a job: complete, fail, snooze, release or progress."""
        return self.api.post(f"/jobs/{job['id']}/{what}", {"worker_id": self.id, "attempt": job["attempt"]} | more)

    def ends(self, what: str, job: dict[str, Any], **more: Any) -> dict[str, Any]:
        """As `tell`, which must be accepted."""
        answer = self.tell(what, job, **more)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        found: dict[str, Any] = answer.get_json()
        return found


def register(api: Api, *tasks: Any, **more: Any) -> Remote:
    """Makes a worker known that runs these tasks."""
    answer = api.post("/workers/register", {"tasks": list(tasks)} | more)
    assert answer.status_code == 201, answer.get_data(as_text=True)
    return Remote(api, answer.get_json()["worker_id"])


def _pair(job: dict[str, Any]) -> dict[str, Any]:
    return {"id": job["id"], "attempt": job["attempt"]}
