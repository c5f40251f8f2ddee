DROP FUNCTION pgtask.prune_api;
