-- Says that a consumer has worked off all events up to a position. Locks: the consumer's row. Index: feed_consumers_pkey.
SELECT pgtask.acknowledge_feed(%(consumer)s::text, %(position)s::text) AS acknowledged;
