-- Keeps what is stored of a queue from being changed by others until the transaction ends. Locks: its row. Index: queues_pkey.
SELECT q.name
  FROM pgtask.queues q
 WHERE q.name = %(name)s::text
   FOR UPDATE;
