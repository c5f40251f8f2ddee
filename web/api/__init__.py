"""The operations of the API, one module for each kind of thing."""

from . import (
    bulk_operations,
    dead_letters,
    enqueue,
    events,
    job_actions,
    job_endings,
    job_fetching,
    job_sets,
    jobs,
    metrics,
    queues,
    schedules,
    statistics,
    task_types,
    tokens,
    webhooks,
    worker_protocol,
    workers,
)

SECTIONS = (
    enqueue.section,
    jobs.section,
    job_actions.section,
    job_sets.section,
    bulk_operations.section,
    dead_letters.section,
    queues.section,
    schedules.section,
    task_types.section,
    workers.section,
    worker_protocol.section,
    job_fetching.section,
    job_endings.section,
    statistics.section,
    metrics.section,
    events.section,
    webhooks.section,
    tokens.section,
)
"""All of them, in the order of the documentation."""
