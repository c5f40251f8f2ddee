-- Moves a webhook on from the position that it had, unless it was paused or moved meanwhile. `status` is NULL where nothing had to
-- be sent. Those that wait come before it from now on. Locks: its row. Index: webhooks_pkey.
UPDATE pgtask.webhooks w
   SET "position" = %(position)s::text,
       failures = 0,
       first_failed_at = NULL,
       next_attempt_at = clock_timestamp(),
       delivered_at = CASE WHEN %(status)s::int2 IS NULL THEN w.delivered_at ELSE clock_timestamp() END,
       last_status = coalesce(%(status)s::int2, w.last_status),
       last_error = CASE WHEN %(status)s::int2 IS NULL THEN w.last_error END
 WHERE w.id = %(id)s::int4
   AND w."position" = %(from)s::text
   AND w.url = %(url)s::text
   AND w.paused_at IS NULL
RETURNING w.id;
