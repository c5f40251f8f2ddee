-- Whether this server takes no changes. Locks nothing.
SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool;
