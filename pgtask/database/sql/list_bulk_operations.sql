-- Operations, the latest first, or one. Takes no locks. Index: bulk_operations_pkey.
SELECT o.id, o.action, o.target, o.status, o.filter, o.options, o.created_at, o.created_by, o.started_at, o.finished_at,
       o.cancel_requested_at, o.matched, o.exact, o.processed, o.answers, o.refusals, o.error
  FROM pgtask.bulk_operations o
 WHERE (%(id)s::int8 IS NULL OR o.id = %(id)s::int8)
   AND (%(before)s::int8 IS NULL OR o.id < %(before)s::int8)
 ORDER BY o.id DESC
 LIMIT %(limit)s::int4;
