-- Pauses schedules in the order of their names, so that two callers cannot lock them crosswise. Locks: their rows.
SELECT name, pgtask.pause_schedule(name, coalesce(%(paused_by)s::text, session_user)) AS paused_at
  FROM (SELECT unnest(%(names)s::text[]) AS name ORDER BY 1) schedule;
