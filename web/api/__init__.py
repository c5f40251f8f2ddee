"""The operations of the API, one module for each kind of thing."""

from . import enqueue, jobs

SECTIONS = (enqueue.section, jobs.section)
"""All of them, in the order of the documentation."""
