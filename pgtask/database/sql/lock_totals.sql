-- Takes the totals for this transaction, so that two who add to them come one after the other. Locks: the row of totals_edge.
SELECT e.minute FROM pgtask.totals_edge e FOR UPDATE;
