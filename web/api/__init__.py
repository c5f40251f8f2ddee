"""The operations of the API, one module for each kind of thing."""

from . import jobs

SECTIONS = (jobs.section,)
"""All of them, in the order of the documentation."""
