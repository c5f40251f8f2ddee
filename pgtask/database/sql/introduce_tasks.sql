-- Makes tasks known by their names alone; what is declared of them stays. Locks: their rows, in the order of names.
INSERT INTO pgtask.tasks AS t (name)
SELECT given.name
  FROM unnest(%(names)s::text[]) AS given (name)
 ORDER BY given.name
ON CONFLICT (name) DO UPDATE
   SET last_seen_at = now();
