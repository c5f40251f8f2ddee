-- Puts ended jobs back in the order of their ids, so that two callers cannot lock them crosswise.
SELECT id, pgtask.retry(id) AS answer FROM (SELECT unnest(%(ids)s::int8[]) AS id ORDER BY 1) job;
