-- Notes that a chunk of an operation is done, in the transaction that did it: what came of its jobs, and where to go on (NULL:
-- it is at its end). Locks: its row. Index: bulk_operations_pkey.
UPDATE pgtask.bulk_operations o
   SET status = %(status)s::text,
       started_at = coalesce(o.started_at, now()),
       finished_at = CASE WHEN %(status)s::text <> 'running' THEN now() END,
       processed = o.processed + %(processed)s::int8,
       answers = o.answers || coalesce((SELECT jsonb_object_agg(a.key, a.value::int8 + coalesce((o.answers ->> a.key)::int8, 0))
                                          FROM jsonb_each_text(%(answers)s::jsonb) a), '{}'),
       refusals = CASE WHEN jsonb_array_length(o.refusals) < 100 THEN o.refusals || %(refusals)s::jsonb ELSE o.refusals END,
       position = %(position)s::jsonb,
       failures = 0
 WHERE o.id = %(id)s::int8;
