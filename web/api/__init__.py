"""The operations of the API, one module for each kind of thing."""

from . import events, jobs, webhooks

SECTIONS = (jobs.section, events.section, webhooks.section)
"""All of them, in the order of the documentation."""
