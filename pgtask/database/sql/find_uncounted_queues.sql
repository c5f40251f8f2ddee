-- The queues whose size is kept and was counted over a second ago. Locks nothing; both tables are as small as there are queues.
SELECT s.queue
  FROM pgtask.queue_sizes s
  JOIN pgtask.queues q ON q.name = s.queue
 WHERE q.max_size > 1000
   AND s.counted_at < now() - interval '1 s'
 ORDER BY s.queue;
