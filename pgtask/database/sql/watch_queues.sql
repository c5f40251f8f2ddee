-- What the settings of each stored queue are, as text to be compared, and whether it is paused. Takes no locks. Reads the whole
-- table, which is small.
SELECT q.name, q.paused_at IS NOT NULL AS paused, md5(q::text) AS version
  FROM pgtask.queues q;
