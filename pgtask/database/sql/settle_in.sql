-- Gives the transaction that it opens its settings: behind a transaction pooler, sessions keep none.
SELECT set_config(setting.name, setting.value, true)
  FROM unnest(%(names)s::text[], %(values)s::text[]) AS setting (name, value);
