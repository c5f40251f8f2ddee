DROP TABLE pgtask.bulk_operations;
