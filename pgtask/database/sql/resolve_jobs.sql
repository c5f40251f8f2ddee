-- Resolves dead letters in the order of their ids, so that two callers cannot lock them crosswise.
SELECT id, pgtask.resolve(id, %(note)s::text, %(resolved_by)s::text) AS answer
  FROM (SELECT unnest(%(ids)s::int8[]) AS id ORDER BY 1) job;
