"""A job of inline mode."""

from __future__ import annotations

from typing import Any

from pgtask.engine.job import Job


class InlineJob(Job):
    """A job for which waiting makes no sense: nothing else would bring it further."""

    def wait(self, timeout: float | None = None) -> Any:
        """As of any job, once it has ended. Raises TimeoutError before."""
        if not self.refresh().status.final:
            raise TimeoutError(
                f"Job {self.id} is {self.status} and stays so: in inline mode nothing runs in the background. "
                "Run its next attempt with run_waiting()."
            )
        return super().wait(timeout)

    async def wait_async(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as its base
        """As `wait`."""
        return self.wait(timeout)
