-- Deletes a webhook. Locks: its row. Index: webhooks_name.
DELETE FROM pgtask.webhooks w
 WHERE w.name = %(name)s::text;
