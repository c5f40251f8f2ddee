-- Keeps runs out of the default partition from the moment that it is known to have none of a range until that has its own.
-- Locks: the default partition ACCESS EXCLUSIVE. Completions do not open it as long as their day has a partition.
LOCK TABLE pgtask.runs_default IN ACCESS EXCLUSIVE MODE;
