-- Locks a webhook until the end of the transaction. Locks: its row. Index: webhooks_name.
SELECT w.id
  FROM pgtask.webhooks w
 WHERE w.name = %(name)s::text
   FOR UPDATE;
