-- Makes a schedule by the door that all use, or changes the one of this name that was made so. Index: schedules_name.
SELECT pgtask.schedule(
           name => %(name)s::text,
           expression => %(expression)s::text,
           task => %(task)s::text,
           payload => %(payload)s::jsonb,
           timezone => %(timezone)s::text,
           seconds => %(seconds)s::text,
           queue => %(queue)s::text,
           priority => %(priority)s::int4,
           max_retries => %(max_retries)s::int4,
           timeout => make_interval(secs => %(timeout)s::float8),
           tags => %(tags)s::text[],
           catchup => %(catchup)s::text,
           catchup_limit => %(catchup_limit)s::int4,
           catchup_max_age => make_interval(secs => %(catchup_max_age)s::float8),
           overlap => %(overlap)s::text,
           jitter => make_interval(secs => %(jitter)s::float8),
           starts_at => %(starts_at)s::timestamptz,
           ends_at => %(ends_at)s::timestamptz
       ) AS id;
