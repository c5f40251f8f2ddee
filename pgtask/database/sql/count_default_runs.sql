-- How many runs the default partition holds, counted up to a cap. Takes no locks.
SELECT count(*)
  FROM (SELECT
          FROM pgtask.runs_default
         LIMIT %(cap)s::int4 + 1) held;
