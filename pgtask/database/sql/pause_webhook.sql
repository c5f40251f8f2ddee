-- Pauses a webhook. Locks: its row. Index: webhooks_name.
UPDATE pgtask.webhooks w
   SET paused_at = coalesce(w.paused_at, now()),
       paused_reason = CASE WHEN w.paused_at IS NULL THEN %(reason)s::text ELSE w.paused_reason END
 WHERE w.name = %(name)s::text;
