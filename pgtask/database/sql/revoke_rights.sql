-- Takes all rights on pgtask's objects from a role. Locks nothing; the caller keeps others from doing the like.
DO $$
BEGIN
    REVOKE ALL ON SCHEMA pgtask FROM {role};
    REVOKE ALL ON ALL TABLES IN SCHEMA pgtask FROM {role};
    REVOKE ALL ON ALL SEQUENCES IN SCHEMA pgtask FROM {role};
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgtask FROM {role};
END
$$;
