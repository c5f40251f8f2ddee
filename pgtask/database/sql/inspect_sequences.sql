-- The sequences of pgtask that hand out ids, and how far they are; idle_until holds a time instead.
-- Locks each for a moment as nextval() does, which disturbs nobody who draws from it.
SELECT s.sequencename AS name, s.last_value, s.max_value
  FROM pg_catalog.pg_sequences s
 WHERE s.schemaname = 'pgtask'
   AND s.sequencename <> 'idle_until'
 ORDER BY s.sequencename;
