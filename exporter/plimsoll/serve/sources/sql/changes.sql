-- Signs of change, in one row and without looking at any table.
--
-- epoch: a crash, a reset of statistics or a promotion makes it another, and counters mean nothing across that.
-- storage, inheritance: sums over every index and TOAST relation with its file, and over every parent with its child,
-- which tell whether it is worth asking which (storage.sql, inheritance.sql). Temporary ones come and go.
-- held: relations that somebody may be writing to, since files grow before a counter moves.
WITH here AS MATERIALIZED (
    SELECT oid FROM pg_database WHERE datname = current_database()
)
SELECT concat_ws(' ', pg_stat_get_bgwriter_stat_reset_time(), pg_stat_get_db_stat_reset_time(here.oid),
                 pg_is_in_recovery()) AS epoch,
       (SELECT sum(hashint8extended(c.relfilenode::bigint, c.oid::bigint))::text
        FROM pg_class c
        WHERE c.relkind IN ('i', 't')
          AND c.relpersistence <> 't') AS storage,
       (SELECT sum(hashint8extended(h.inhparent::bigint, h.inhrelid::bigint))::text
        FROM pg_inherits h) AS inheritance,
       ARRAY(SELECT DISTINCT l.relation::bigint
             FROM pg_locks l
             WHERE l.locktype = 'relation'
               AND l.granted
               AND l.database = here.oid
               AND l.mode IN ('RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock',
                              'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')) AS held
FROM here
