-- Ends each statement of this transaction after so many milliseconds, and any wait for a lock after half a second.
SELECT set_config('statement_timeout', %(milliseconds)s::text, true), set_config('lock_timeout', '500', true);
