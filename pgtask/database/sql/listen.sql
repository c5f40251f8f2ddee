-- Subscribes to pgtask's one channel.
LISTEN pgtask;
