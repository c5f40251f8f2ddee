-- Sets the rate of a task by hand, NULL for none. Locks: its row.
UPDATE pgtask.tasks t
   SET rate_limit = %(rate_limit)s::int4, rate_period = %(rate_period)s::float8, rate_burst = %(rate_burst)s::int4,
       rate_set_by = coalesce(%(set_by)s::text, session_user)
 WHERE t.name = %(name)s::text;
