-- Until the transaction or savepoint ends, rows are read along an index in its order: with such statistics as there are,
-- sorting all of a lane looks cheaper than it is. Locks nothing.
SELECT set_config('enable_bitmapscan', 'off', true), set_config('enable_seqscan', 'off', true);
