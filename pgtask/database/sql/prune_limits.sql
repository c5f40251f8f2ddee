-- Forgets concurrency keys of which nothing runs. A claim that has just found such a row takes nothing and comes again.
DELETE FROM pgtask.limits l
 WHERE (l.scope, l.name, l.key) IN (SELECT x.scope, x.name, x.key
                                      FROM pgtask.limits x
                                     WHERE x.scope = 'key' AND x.used = 0
                                     ORDER BY x.scope, x.name, x.key
                                       FOR UPDATE SKIP LOCKED);
