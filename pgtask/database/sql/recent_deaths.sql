-- Whether a worker died so lately that a claim it sent before may still be under way.
SELECT EXISTS (SELECT FROM pgtask.workers w WHERE w.dead_at > now() - make_interval(secs => %(seconds)s::float8));
