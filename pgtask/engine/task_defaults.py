"""What a task's declaration gives its jobs."""

from __future__ import annotations

from dataclasses import dataclass, field

from pgtask.engine.checks import Duration, checked_isolation, checked_retries, checked_timeout
from pgtask.model.pace import Pace
from pgtask.model.retry import RetryPolicy, RetryRules
from pgtask.model.status import parse_priority


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
