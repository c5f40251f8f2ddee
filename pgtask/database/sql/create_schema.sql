-- Makes the schema, unless someone with more rights has made it: IF NOT EXISTS would ask for those rights all the same.
DO $$
BEGIN
    IF to_regnamespace('pgtask') IS NULL THEN
        CREATE SCHEMA pgtask;
    END IF;
END
$$;
