"""How it is watched: the REST API and the admin pages."""
