-- Takes ids for jobs that COPY will bring, as COPY cannot say which ids it gave.
SELECT nextval('pgtask.jobs_id_seq') FROM generate_series(1, %(count)s::int4);
