-- Notes how far the numbers of transactions are, to notice a restore into another cluster. Locks: the one row of feed_state.
SELECT pgtask.note_feed();
