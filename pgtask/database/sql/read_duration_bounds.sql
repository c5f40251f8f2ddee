-- Upper bounds, in seconds, of the buckets in which durations are counted; the last one has none. Locks nothing.
SELECT pgtask.duration_bounds();
