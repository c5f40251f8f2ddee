-- Holds the jobs of a task, for so many seconds or (NULL) until it is closed by hand. Locks: its circuit.
SELECT pgtask.open_circuit(%(task)s::text, make_interval(secs => %(hold)s::float8), %(reason)s::text, %(changed_by)s::text);
