-- Which of these attempts have left a run: asked after a lost answer, before calling a completion superseded. Index: runs_job_id.
SELECT r.job_id, r.attempt
  FROM unnest(%(ids)s::int8[], %(attempts)s::int4[]) AS sent (id, attempt)
  JOIN pgtask.runs r ON r.job_id = sent.id AND r.attempt = sent.attempt;
