-- Ends each statement of this transaction after so many milliseconds.
SELECT set_config('statement_timeout', %(milliseconds)s::text, true);
