-- The attempt that this transaction belongs to; nothing when it is not the one that was begun for it.
SELECT current_setting('pgtask.attempt', true) AS mark;
