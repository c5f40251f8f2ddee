DROP TRIGGER runs_deleted ON pgtask.runs;
DROP TRIGGER runs_put_back ON pgtask.runs;
DROP FUNCTION pgtask.copy_dead_letter;
DROP FUNCTION pgtask.retry_jobs;
DROP FUNCTION pgtask.unresolve;
DROP FUNCTION pgtask.resolve;
DROP FUNCTION pgtask.drop_resolutions;
DROP VIEW pgtask.dead_letters;
ALTER TABLE pgtask.runs DROP COLUMN copy_id;
