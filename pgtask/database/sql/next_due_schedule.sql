-- Seconds until the next schedule is due, by the database's clock; NULL when none will be. Takes no locks. Index: schedules_due.
SELECT extract(epoch FROM (
           SELECT s.next_tick_at
             FROM pgtask.schedules s
            WHERE s.paused_at IS NULL
              AND s.orphaned_at IS NULL
              AND s.error IS NULL
              AND s.next_tick_at < 'infinity'
            ORDER BY s.next_tick_at
            LIMIT 1
       ) - clock_timestamp())::float8 AS due_in;
