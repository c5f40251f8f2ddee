-- What the workers used over the last `window` seconds, from the full minute on, from their heartbeats: how many slots there
-- were on average, and how many of them were busy. Takes no locks. Index: worker_minutes_minute.
SELECT coalesce(sum(m.slots / m.beats::float8) / nullif(count(DISTINCT m.minute), 0), 0)::float8 AS slots,
       coalesce(sum(m.busy / m.beats::float8) / nullif(count(DISTINCT m.minute), 0), 0)::float8 AS busy
  FROM pgtask.worker_minutes m
 WHERE m.minute >= date_trunc('minute', now() - make_interval(secs => %(window)s::float8));
