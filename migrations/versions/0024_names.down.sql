DROP INDEX pgtask.runs_names, pgtask.runs_tags;
