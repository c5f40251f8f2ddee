-- Notes which schedules the code of a worker declares. Locks: its row. Index: declarations_pkey.
INSERT INTO pgtask.declarations AS d (worker_id, application, schedules)
VALUES (%(worker_id)s::int4, %(application)s::text, %(schedules)s::text[])
    ON CONFLICT (worker_id) DO UPDATE
   SET application = excluded.application, schedules = excluded.schedules;
