"""How it is kept: the only layer that speaks SQL and imports psycopg."""
