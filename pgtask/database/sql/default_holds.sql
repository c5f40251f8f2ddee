-- Whether the default partition has runs of a range, which then cannot get a partition of its own. Index: its BRIN one.
SELECT EXISTS (SELECT
                 FROM pgtask.runs_default r
                WHERE r.finished_at >= %(begins_at)s::timestamptz
                  AND r.finished_at < %(ends_at)s::timestamptz);
