-- Stores a queue with everything inherited; returns nothing when it is stored already. Locks: the new row.
INSERT INTO pgtask.queues (name)
VALUES (%(name)s::text)
    ON CONFLICT (name) DO NOTHING
RETURNING name;
