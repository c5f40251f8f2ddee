DROP TABLE pgtask.webhook_networks;
DROP TABLE pgtask.webhooks;
CREATE OR REPLACE FUNCTION pgtask.drop_expired_partition() RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pgtask, pg_temp SET datestyle = 'ISO' AS $$
DECLARE
    -- A retention beyond any calendar counts as a hundred years.
    retention interval := (SELECT make_interval(secs => 86400 * least(greatest((s.value #>> '{}')::double precision, 0), 36500))
                             FROM pgtask.settings s
                            WHERE s.name = 'retention_days');
    partition text;
BEGIN
    SELECT part.name INTO partition
      FROM (SELECT c.relname AS name,
                   substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([^'']+)''\)')::timestamptz AS ends_at
              FROM pg_inherits i
              JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = 'pgtask.runs'::regclass) part
     WHERE part.ends_at <= now() - retention
     ORDER BY part.ends_at
     LIMIT 1;
    IF partition IS NOT NULL THEN
        -- Takes ACCESS EXCLUSIVE on pgtask.runs, the partition and the default partition.
        EXECUTE format('DROP TABLE pgtask.%I', partition);
    END IF;
    RETURN partition;
END
$$;
DROP FUNCTION pgtask.note_pruned, pgtask.note_feed, pgtask.acknowledge_feed, pgtask.read_feed, pgtask.feed, pgtask.feed_position,
    pgtask.parse_position;
DROP TABLE pgtask.feed_consumers;
DROP TABLE pgtask.feed_state;
ALTER TABLE pgtask.runs DROP COLUMN xid;
