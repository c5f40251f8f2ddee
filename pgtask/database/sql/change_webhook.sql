-- Changes where a webhook goes and what is sent. Locks: its row. Index: webhooks_name.
UPDATE pgtask.webhooks w
   SET url = %(url)s::text,
       statuses = %(statuses)s::text[],
       tasks = %(tasks)s::text[],
       queues = %(queues)s::text[],
       next_attempt_at = now()
 WHERE w.name = %(name)s::text;
