DELETE FROM pgtask.settings WHERE name = 'ageing_step';
ALTER TABLE pgtask.queues DROP COLUMN weight;
