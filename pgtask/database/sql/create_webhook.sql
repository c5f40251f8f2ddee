-- Stores a webhook that begins now. Locks: none but its own row. Index: webhooks_name.
INSERT INTO pgtask.webhooks (name, url, secret, statuses, tasks, queues, "position")
VALUES (%(name)s::text, %(url)s::text, %(secret)s::text, %(statuses)s::text[], %(tasks)s::text[], %(queues)s::text[],
        pgtask.feed_position(false));
