-- Writes into the transaction, and only into it, whose attempt it belongs to: whoever ends it by hand ends this mark with it.
-- No SELECT set_config(): that would be a query, after which the handler could no longer choose the isolation level.
SET LOCAL pgtask.attempt = {mark};
