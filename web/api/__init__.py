"""The operations of the API, one module for each kind of thing."""

from . import enqueue, job_actions, jobs

SECTIONS = (enqueue.section, jobs.section, job_actions.section)
"""All of them, in the order of the documentation."""
