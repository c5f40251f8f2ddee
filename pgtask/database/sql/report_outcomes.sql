-- Hands in how attempts ended, of tasks with a breaker in numbers, and each attempt that may be the probe of a circuit.
-- Locks: the circuits concerned, in the order of their tasks. Index: circuits_pkey, tasks_pkey, circuit_tallies_pkey.
SELECT pgtask.report_outcomes(%(tasks)s::text[], %(successes)s::int4[], %(failures)s::int4[], %(streaks)s::int4[],
                              %(ids)s::int8[], %(attempts)s::int4[], %(outcomes)s::text[]);
