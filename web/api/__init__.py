"""The operations of the API, one module for each kind of thing."""

from . import bulk_operations, dead_letters, job_sets, jobs, metrics, tokens

SECTIONS = (
    jobs.section,
    job_sets.section,
    bulk_operations.section,
    dead_letters.section,
    metrics.section,
    tokens.section,
)
"""All of them, in the order of the documentation."""
