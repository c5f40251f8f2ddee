-- The networks that webhooks may reach though they are not public. Locks nothing. Reads the whole table, which is small.
SELECT n.network::text AS network
  FROM pgtask.webhook_networks n;
