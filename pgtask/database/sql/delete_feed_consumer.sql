-- Deletes a consumer of the feed. Locks: its row. Index: feed_consumers_pkey.
DELETE FROM pgtask.feed_consumers c
 WHERE c.name = %(name)s::text
RETURNING c.name;
