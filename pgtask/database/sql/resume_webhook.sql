-- Resumes a webhook, at once and where it was. Locks: its row. Index: webhooks_name.
UPDATE pgtask.webhooks w
   SET paused_at = NULL, paused_reason = NULL, failures = 0, first_failed_at = NULL, next_attempt_at = now()
 WHERE w.name = %(name)s::text;
