"""The operations of the API, one module for each kind of thing."""

from . import jobs, tokens

SECTIONS = (jobs.section, tokens.section)
"""All of them, in the order of the documentation."""
