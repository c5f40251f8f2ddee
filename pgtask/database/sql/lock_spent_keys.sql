-- Locks a batch of unique keys that are perhaps held by nobody any more, or by a job that has ended, leaving out those that
-- somebody has locked. What is to be done with them, the next statement decides: only it sees who had them before.
-- Index: jobs_pkey, once per key.
SELECT k.unique_key
  FROM pgtask.unique_keys k
 WHERE k.scope = ANY (%(scopes)s::text[]::pgtask.unique_scope[])
   AND (k.expires_at <= now()
        OR k.scope <> 'always' AND NOT EXISTS (SELECT FROM pgtask.jobs j WHERE j.id = k.job_id))
 LIMIT %(limit)s::int4
   FOR UPDATE SKIP LOCKED;
