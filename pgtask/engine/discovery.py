"""Finding the application that a worker is to run."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from pgtask.engine.app import PgTask
from pgtask.model.errors import ConfigurationError

BUILT_IN = "pgtask.builtin.app:app"
_USUAL_NAMES = ("tasks", "pgtask", "queue", "app")


def load_app(reference: str | None) -> PgTask:
    """The application named `module:attribute` or `module`; None means the built-in tasks.

    The current directory is searched first. Raises ConfigurationError, saying what was looked for.
    """
    reference = reference or BUILT_IN
    module_name, _, attribute = reference.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and module_name.split(".")[0] == error.name.split(".")[0]:
            raise ConfigurationError(
                f"There is no module {error.name!r} for the application {reference!r}. Run the worker in "
                "its directory, or install it."
            ) from None
        raise ConfigurationError(f"The application {reference!r} cannot be imported: {error}") from error
    except Exception as error:
        kind = type(error).__name__
        raise ConfigurationError(f"The application {reference!r} cannot be imported: {kind}: {error}") from error
    if attribute:
        found = getattr(module, attribute, None)
        if not isinstance(found, PgTask):
            what = "nothing" if found is None else type(found).__name__
            raise ConfigurationError(f"{reference!r} names {what}, not a PgTask application.")
        found.name = f"{module_name}:{attribute}"
        return found
    return _only_app(module_name, vars(module))


def _only_app(module_name: str, names: dict[str, object]) -> PgTask:
    apps = {name: value for name, value in names.items() if isinstance(value, PgTask)}
    usual = [name for name in _USUAL_NAMES if name in apps]
    if usual or len(set(map(id, apps.values()))) == 1:
        name = [*usual, *apps][0]
        apps[name].name = f"{module_name}:{name}"
        return apps[name]
    found = f"several: {', '.join(sorted(apps))}" if apps else "none"
    raise ConfigurationError(
        f"Which application of {module_name!r} is meant? It holds {found}. Say {module_name}:NAME."
    )
