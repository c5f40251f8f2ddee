-- Makes a table in the likeness of pgtask.runs; attach_partition makes it one of its partitions. In two steps, because CREATE
-- TABLE ... PARTITION OF would shut out all completions while it waits for a long query on runs to end.
-- Locks: pgtask.runs ACCESS SHARE. Runs are never updated, so vacuum has little to do there.
CREATE TABLE {partition} (LIKE pgtask.runs INCLUDING ALL)
    WITH (autovacuum_vacuum_insert_threshold = 1000000, autovacuum_analyze_threshold = 100000);
