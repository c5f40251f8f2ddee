-- First in a transaction that only reads: all its statements see one instant.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
