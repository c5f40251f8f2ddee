"""The operations of the API, one module for each kind of thing."""

from . import job_details, job_lists, jobs

SECTIONS = (jobs.section, job_lists.section, job_details.section)
"""All of them, in the order of the documentation."""
