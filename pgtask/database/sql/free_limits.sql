-- Frees what ended attempts held of limits; what somebody else has freed is not freed again. The ids must ascend.
-- Locks: the holds, then the limits in the order of their key, as claims do. Index: limit_holds_pkey, limits_pkey.
WITH freed AS MATERIALIZED (
    DELETE FROM pgtask.limit_holds h
     WHERE h.job_id = ANY (%(ids)s::int8[])
       AND h.attempt = (%(attempts)s::int4[])[width_bucket(h.job_id, %(ids)s::int8[])]
    RETURNING h.in_queue, h.queue, h.concurrency_key
), counts AS MATERIALIZED (
    SELECT gate.scope, gate.name, gate.key, count(*)::int4 AS used
      FROM freed f
     CROSS JOIN LATERAL (VALUES ('queue'::pgtask.limit_scope, f.queue, '', f.in_queue),
                                ('key', f.queue, f.concurrency_key, f.concurrency_key IS NOT NULL))
           AS gate (scope, name, key, applies)
     WHERE gate.applies
     GROUP BY gate.scope, gate.name, gate.key
), locked AS MATERIALIZED (
    SELECT l.scope, l.name, l.key, c.used
      FROM counts c
      JOIN pgtask.limits l ON l.scope = c.scope AND l.name = c.name AND l.key = c.key
     ORDER BY l.scope, l.name, l.key
       FOR UPDATE OF l
)
UPDATE pgtask.limits l
   SET used = greatest(l.used - k.used, 0)
  FROM locked k
 WHERE l.scope = k.scope AND l.name = k.name AND l.key = k.key;
