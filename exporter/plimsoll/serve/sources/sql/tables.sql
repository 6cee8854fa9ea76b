-- Every relation that is a table to its user and has storage of its own: tables, partitions and
-- materialised views. Straight from pg_class, since the pg_stat_user_tables view joins and groups
-- indexes too, at many times the cost. Unlogged relations have no contents on a standby.
SELECT c.oid::bigint,
       n.nspname::text,
       c.relname::text,
       pg_stat_get_live_tuples(c.oid),
       pg_stat_get_dead_tuples(c.oid)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm')
  AND n.nspname !~ '^pg_'
  AND n.nspname <> 'information_schema'
  AND c.relpersistence <> 't'
  AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery())
