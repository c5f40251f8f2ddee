"""The operations of the API, one module for each kind of thing."""

from . import (
    enqueue,
    job_actions,
    job_details,
    job_lists,
    jobs,
    metrics,
    queues,
    schedules,
    statistics,
    task_types,
    workers,
)

SECTIONS = (
    jobs.section,
    job_lists.section,
    job_details.section,
    enqueue.section,
    job_actions.section,
    queues.section,
    schedules.section,
    task_types.section,
    workers.section,
    statistics.section,
    metrics.section,
)
"""All of them, in the order of the documentation."""
