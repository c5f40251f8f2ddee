-- Gives a task the rate again that its code declares. Locks: its row.
UPDATE pgtask.tasks t
   SET rate_limit = t.declared_rate_limit, rate_period = t.declared_rate_period, rate_burst = t.declared_rate_burst,
       rate_set_by = NULL
 WHERE t.name = %(name)s::text;
