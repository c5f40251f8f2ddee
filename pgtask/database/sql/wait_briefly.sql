-- For the rest of a transaction, gives up rather than wait for long for what others hold.
SELECT set_config('lock_timeout', '300ms', true);
