-- The secret of a webhook. Locks nothing. Index: webhooks_name.
SELECT w.secret
  FROM pgtask.webhooks w
 WHERE w.name = %(name)s::text;
