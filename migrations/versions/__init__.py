"""The revisions. Alembic reads NNNN_name.py; NNNN_name.up.sql and .down.sql do the work."""
