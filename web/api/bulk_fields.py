"""What a request may say of many jobs."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from .job_fields import EITHER_TASK_OR_TYPE, NEVER_BOTH, JobOptions, NewJob, TaskName, named_task

MOST = 1000
"""Jobs in a request."""


class NewJobs(JobOptions):
    """Jobs to enqueue: `jobs`, or `payloads` for one task and with the same options."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["jobs"],
                    "properties": {"jobs": {"type": "array"}},
                    "maxProperties": 1,
                },
                {
                    "required": ["payloads"],
                    "properties": {"payloads": {"type": "array"}, "jobs": {"type": "null"}},
                    "allOf": [EITHER_TASK_OR_TYPE, *NEVER_BOTH],
                },
            ],
            "examples": [
                {"task": "echo", "queue": "bulk", "payloads": [{"message": "one"}, {"message": "two"}]},
                {"jobs": [{"task": "echo"}, {"task": "sleep", "payload": {"seconds": 1}, "priority": "low"}]},
            ],
        }
    )

    jobs: Annotated[list[NewJob], Field(min_length=1, max_length=MOST)] | None = None
    """Each with all that belongs to it."""
    task: TaskName | None = None
    """Of all `payloads`."""
    type: TaskName | None = None
    """The same as `task`."""
    payloads: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MOST)] | None = None
    """The arguments of each job, stored exactly as they are."""

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.jobs is None) == (self.payloads is None):
            raise ValueError("Give jobs, or payloads with a task")
        if self.jobs is None:
            named_task(self.task, self.type)
        elif self.model_fields_set != {"jobs"}:
            raise ValueError("With jobs, all that belongs to a job is written there")
        return self

    @property
    def name(self) -> str:
        """The task of `payloads`."""
        return named_task(self.task, self.type)
