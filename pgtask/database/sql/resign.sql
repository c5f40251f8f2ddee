-- Gives a leadership up at once.
UPDATE pgtask.leader SET expires_at = now() WHERE name = %(name)s::text AND holder = %(worker_id)s::int4;
