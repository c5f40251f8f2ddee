-- Back to the role that the session began with: the one a handler has set need not know pgtask's tables.
RESET ROLE;
