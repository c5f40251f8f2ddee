-- Takes resolutions back, in the order of the ids, so that two callers cannot lock them crosswise.
SELECT id, pgtask.unresolve(id) AS answer FROM (SELECT unnest(%(ids)s::int8[]) AS id ORDER BY 1) job;
