-- Resumes schedules in the order of their names, so that two callers cannot lock them crosswise. Locks: their rows.
SELECT name, pgtask.resume_schedule(name) AS resumed
  FROM (SELECT unnest(%(names)s::text[]) AS name ORDER BY 1) schedule;
