-- Bytes of each relation asked for: heap (with its maps), TOAST (with its index), indexes.
--
-- Relations under a granted or waiting AccessExclusiveLock, on themselves, their TOAST relation or one
-- of the indexes of either, are not measured but marked: every size function would queue behind that lock.
-- A relation dropped since the statement began gives NULL.
WITH locked AS MATERIALIZED (
    SELECT DISTINCT relation
    FROM pg_locks
    WHERE locktype = 'relation'
      AND mode = 'AccessExclusiveLock'
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
), held AS MATERIALIZED (
    SELECT relation FROM locked
    UNION
    SELECT indrelid FROM pg_index WHERE indexrelid IN (SELECT relation FROM locked)
), wanted AS MATERIALIZED (
    SELECT c.oid,
           c.reltoastrelid AS toast,
           c.oid IN (SELECT relation FROM held) OR c.reltoastrelid IN (SELECT relation FROM held) AS is_held
    FROM pg_class c
    WHERE c.oid = ANY (%(oids)s::oid[])
)
SELECT oid::bigint,
       is_held,
       CASE WHEN NOT is_held THEN pg_relation_size(oid, 'main') + pg_relation_size(oid, 'fsm')
                                + pg_relation_size(oid, 'vm') + pg_relation_size(oid, 'init') END AS heap,
       CASE WHEN is_held THEN NULL
            WHEN toast = 0 THEN 0
            ELSE pg_total_relation_size(toast) END AS toast,
       CASE WHEN NOT is_held THEN pg_indexes_size(oid) END AS indexes
FROM wanted
