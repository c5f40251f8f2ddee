-- Cancels jobs in the order of their ids, so that two callers cannot lock them crosswise.
SELECT id, pgtask.cancel(id) AS answer FROM (SELECT unnest(%(ids)s::int8[]) AS id ORDER BY 1) job;
