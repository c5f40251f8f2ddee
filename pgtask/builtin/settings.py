"""The settings of the built-in tasks: those of the worker that runs them."""

from __future__ import annotations

from functools import cache

from pgtask.config import Settings, load_settings


@cache
def settings() -> Settings:
    """The settings in force, read once in a process. Raises ConfigurationError.

    They are where no job can change them: in files of the working directory and in the environment.
    """
    return load_settings()
