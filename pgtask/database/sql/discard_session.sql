-- Leaves nothing of one handler to the next: settings, temporary tables, advisory locks, LISTEN, cursors, prepared statements.
DISCARD ALL;
