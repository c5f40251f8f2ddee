"""The schema, step by step: an Alembic environment whose revisions run SQL files."""
