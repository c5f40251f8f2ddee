"""How it is watched: the REST API and the admin pages."""

from .app import create_app

__all__ = ["create_app"]
