-- Declares workers dead whose lease has run out, under their row lock, before anyone frees their jobs: a late heartbeat then
-- finds the lease closed and cannot revive it. Only a worker whose own lease has been unbroken for a full period may do so, as
-- after an outage every lease looks expired.
UPDATE pgtask.workers w
   SET dead_at = now()
 WHERE w.id IN (SELECT x.id FROM pgtask.workers x
                 WHERE x.dead_at IS NULL AND x.expires_at < now()
                 ORDER BY x.id
                   FOR UPDATE SKIP LOCKED)
   AND EXISTS (SELECT FROM pgtask.workers me
                WHERE me.id = %(worker_id)s::int4 AND me.dead_at IS NULL AND me.expires_at > now()
                  AND me.live_since + make_interval(secs => me.lease) <= now())
RETURNING w.id, w.name, w.host;
