-- Takes up to `wanted` permits of a caller that may make `rate` requests a second, `burst` of them at once after a quiet time. Says how
-- many it got, how many were left, and the seconds until the next one. No row where another process has just put the caller in: ask
-- again. Locks: the caller's row. Index: request_rates_pkey.
WITH held AS MATERIALIZED (
    SELECT extract(epoch FROM greatest(r.free_at, clock_timestamp()) - clock_timestamp())::float8 AS debt, clock_timestamp() AS now
      FROM pgtask.request_rates r
     WHERE r.caller = %(caller)s::text
       FOR UPDATE),
room AS MATERIALIZED (
    SELECT h.debt, h.now, greatest(floor(%(burst)s::float8 - h.debt * %(rate)s::float8 + 1e-6), 0) AS permits FROM held h),
taken AS (
    UPDATE pgtask.request_rates r
       SET free_at = o.now + (o.debt + least(o.permits, %(wanted)s::float8) / %(rate)s::float8) * interval '1 second'
      FROM room o
     WHERE r.caller = %(caller)s::text AND o.permits > 0),
new AS (
    INSERT INTO pgtask.request_rates (caller, free_at)
    SELECT %(caller)s::text, clock_timestamp() + least(%(wanted)s::float8, %(burst)s::float8) / %(rate)s::float8 * interval '1 second'
     WHERE NOT EXISTS (SELECT FROM held)
        ON CONFLICT (caller) DO NOTHING
    RETURNING true)
SELECT least(o.permits, %(wanted)s::float8)::int4,
       greatest(o.permits - %(wanted)s::float8, 0)::int4,
       greatest(o.debt - (%(burst)s::float8 - 1) / %(rate)s::float8, 0)
  FROM room o
 UNION ALL
SELECT least(%(wanted)s::float8, %(burst)s::float8)::int4, greatest(%(burst)s::float8 - %(wanted)s::float8, 0)::int4, 0::float8 FROM new;
