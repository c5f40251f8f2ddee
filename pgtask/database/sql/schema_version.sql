-- The revision this schema is at. Locks nothing; one row.
SELECT v.version_num
  FROM pgtask.schema_version v;
