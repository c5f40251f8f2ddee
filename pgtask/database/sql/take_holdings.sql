-- Takes away what was noted of a worker over HTTP up to its previous heartbeat, at least a third of its lease ago: an answer that is
-- still on its way is later than that. `everything` takes all. Index: holdings_worker_id.
DELETE FROM pgtask.holdings h
 WHERE h.worker_id = %(worker_id)s::int4
   AND (%(everything)s::bool
        OR h.noted_at <= least(%(previous)s::timestamptz, now() - make_interval(secs => %(lease)s::float8 / 3)))
RETURNING h.named, h.ids, h.attempts;
