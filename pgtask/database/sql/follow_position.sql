-- Where a look at what has happened stands: the database's clock, and the oldest transaction still under way, whose rows the
-- next look may be the first to see. Locks nothing; assigns no transaction id.
SELECT now(), pg_snapshot_xmin(pg_current_snapshot())::text::int8, pg_snapshot_xmax(pg_current_snapshot())::text::int8;
