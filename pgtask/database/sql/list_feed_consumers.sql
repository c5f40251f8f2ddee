-- Consumers of the feed by name, each with its next event. Locks nothing. Index: runs_xid, once per consumer.
SELECT c.name,
       c."position",
       c.created_at,
       c.read_at,
       c.acknowledged_at,
       c.lease_ends_at,
       next.at AS next_event_at,
       coalesce(next.event = 'reset', false) AS interrupted
  FROM pgtask.feed_consumers c
  LEFT JOIN LATERAL pgtask.feed(c."position", 1) next ON true
 ORDER BY c.name;
