-- Takes or renews a leadership; the term grows with each change of holder. Nothing comes back, and nothing is locked, while
-- another holds it, or one of the others in names. None is given for a minute: one that seems to last so long was given by a clock that has been put back. With `unbroken` only a worker whose own lease has been so for a full period may lead, as one who rescues must.
-- Index: leader_pkey, workers_pkey.
INSERT INTO pgtask.leader AS l (name, holder, expires_at)
SELECT %(name)s::text, me.id, now() + make_interval(secs => %(seconds)s::float8)
  FROM pgtask.workers me
 WHERE me.id = %(worker_id)s::int4
   AND me.dead_at IS NULL
   AND me.expires_at > now()
   AND (NOT %(unbroken)s::bool OR me.live_since + make_interval(secs => me.lease) <= now())
   AND NOT EXISTS (SELECT FROM pgtask.leader other
                    WHERE other.name = ANY (%(names)s::text[]) AND other.holder <> me.id AND other.expires_at > now()
                      AND other.expires_at < now() + interval '1 minute')
ON CONFLICT (name) DO UPDATE
   SET term = l.term + (l.holder <> excluded.holder)::int4,
       elected_at = CASE WHEN l.holder <> excluded.holder THEN now() ELSE l.elected_at END,
       holder = excluded.holder,
       expires_at = excluded.expires_at
 WHERE l.holder = excluded.holder OR l.expires_at < now() OR l.expires_at >= now() + interval '1 minute'
RETURNING term;
