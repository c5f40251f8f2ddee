"""The operations of the API, one module for each kind of thing."""

from . import jobs, queues, schedules, statistics, task_types, workers

SECTIONS = (
    jobs.section,
    queues.section,
    schedules.section,
    task_types.section,
    workers.section,
    statistics.section,
)
"""All of them, in the order of the documentation."""
