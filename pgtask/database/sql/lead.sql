-- Takes or renews a leadership; the term grows with each change of holder. Nothing comes back while another holds it.
INSERT INTO pgtask.leader AS l (name, holder, expires_at)
VALUES (%(name)s::text, %(worker_id)s::int4, now() + make_interval(secs => %(seconds)s::float8))
ON CONFLICT (name) DO UPDATE
   SET term = l.term + (l.holder <> excluded.holder)::int4,
       elected_at = CASE WHEN l.holder <> excluded.holder THEN now() ELSE l.elected_at END,
       holder = excluded.holder,
       expires_at = excluded.expires_at
 WHERE l.holder = excluded.holder OR l.expires_at < now()
RETURNING term;
