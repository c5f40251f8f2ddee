-- Lets the jobs of a task start again; false when they might. Locks: its circuit.
SELECT pgtask.close_circuit(%(task)s::text, %(changed_by)s::text);
