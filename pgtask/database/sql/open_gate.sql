-- Says that a worker is asleep until so many milliseconds from now, so that inserts notify until then. Never shortened: it
-- expires by itself, and so no race between workers can lose a wake-up.
SELECT setval('pgtask.idle_until',
              greatest((SELECT last_value FROM pgtask.idle_until),
                       (extract(epoch FROM clock_timestamp()) * 1000)::int8 + %(milliseconds)s::int8));
