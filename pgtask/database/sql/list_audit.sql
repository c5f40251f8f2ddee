-- What was changed, newest first, from below an id on; what is NULL does not matter. Locks nothing. Indexes: audit_pkey, audit_actor,
-- audit_action.
SELECT a.id, a.at, a.actor, a.address, a.action, a.subject, a.details, a.request_id
  FROM pgtask.audit a
 WHERE (%(actor)s::text IS NULL OR a.actor = %(actor)s::text)
   AND (%(action)s::text IS NULL OR a.action = %(action)s::text)
   AND (%(subject)s::text IS NULL OR a.subject = %(subject)s::text)
   AND (%(since)s::timestamptz IS NULL OR a.at >= %(since)s::timestamptz)
   AND a.id < coalesce(%(before)s::int8, 9223372036854775807)
 ORDER BY a.id DESC
 LIMIT %(limit)s::int4;
