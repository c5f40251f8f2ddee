DROP TABLE pgtask.holdings;
ALTER TABLE pgtask.workers DROP COLUMN token;
