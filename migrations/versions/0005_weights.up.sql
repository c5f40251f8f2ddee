-- How queues of equal priority share workers, and how jobs that wait long rise. Locks: pgtask.queues, for a moment.

ALTER TABLE pgtask.queues ADD COLUMN weight integer NOT NULL DEFAULT 1 CONSTRAINT queues_weight_range CHECK (weight BETWEEN 1 AND 1000);

INSERT INTO pgtask.settings (name, value, description) VALUES
    ('ageing_step', '60', 'Seconds that the oldest job of a priority waits before all of that priority rise by one, three at most; 0 never.');
