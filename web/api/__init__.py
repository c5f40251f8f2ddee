"""The operations of the API, one module for each kind of thing."""

from . import job_endings, job_fetching, jobs, worker_protocol

SECTIONS = (jobs.section, worker_protocol.section, job_fetching.section, job_endings.section)
"""All of them, in the order of the documentation."""
