"""The operations of the API, one module for each kind of thing."""

from . import jobs, metrics

SECTIONS = (jobs.section, metrics.section)
"""All of them, in the order of the documentation."""
