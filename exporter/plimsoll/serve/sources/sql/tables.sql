-- Every relation that is a table to its user: tables, partitions, materialised views, and partitioned tables, which
-- have no storage of their own. Straight from pg_class, since the pg_stat_user_tables view joins and groups
-- indexes too, at many times the cost. Unlogged relations have no contents on a standby.
--
-- storage: its file and its TOAST relation. activity: counters, of both, of what changes the length of files. None ever
-- goes down, so that an equal sum means that nothing did. To delete rows changes no length, only to vacuum does.
SELECT c.oid::bigint,
       n.nspname::text,
       c.relname::text,
       pg_stat_get_live_tuples(c.oid) AS live,
       pg_stat_get_dead_tuples(c.oid) AS dead,
       c.relfilenode::bigint << 32 | c.reltoastrelid::bigint AS storage,
       pg_stat_get_tuples_inserted(c.oid) + pg_stat_get_tuples_updated(c.oid)
           + pg_stat_get_vacuum_count(c.oid) + pg_stat_get_autovacuum_count(c.oid)
           + CASE WHEN c.reltoastrelid = 0 THEN 0
                  ELSE pg_stat_get_tuples_inserted(c.reltoastrelid)
                      + pg_stat_get_vacuum_count(c.reltoastrelid) + pg_stat_get_autovacuum_count(c.reltoastrelid)
             END AS activity,
       c.relkind = 'p' AS is_partitioned
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p')
  AND n.nspname !~ '^pg_'
  AND n.nspname <> 'information_schema'
  AND c.relpersistence <> 't'
  AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery())
