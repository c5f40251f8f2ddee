-- Writes into the transaction, and only into it, whose attempt it belongs to: whoever ends it by hand ends this mark with it.
SELECT set_config('pgtask.attempt', %(mark)s::text, true);
