-- Notes the attempts that a worker over HTTP names in a heartbeat. Index: holdings_worker_id.
INSERT INTO pgtask.holdings (worker_id, named, ids, attempts)
VALUES (%(worker_id)s::int4, true, %(ids)s::int8[], %(attempts)s::int4[]);
