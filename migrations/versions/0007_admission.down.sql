DROP TRIGGER queues_size ON pgtask.queues;
DROP FUNCTION pgtask.admit, pgtask.size_exceeded, pgtask.fits, pgtask.keep_size, pgtask.count_queue, pgtask.waiting_jobs;
DROP VIEW pgtask.sized_queues;
DROP TABLE pgtask.queue_sizes;
