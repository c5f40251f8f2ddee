-- The position of the feed behind all that is settled, or at its start. Locks nothing.
SELECT pgtask.feed_position(%(at_start)s::bool) AS "position";
