-- The other columns of pg_stat_user_tables, for the tables asked for: with those named, the view looks at no other.
-- NULL means that a table has no indexes, or that it was never vacuumed or analysed.
SELECT relid::bigint,
       n_mod_since_analyze,
       extract(epoch FROM last_vacuum)::float8,
       extract(epoch FROM last_autovacuum)::float8,
       extract(epoch FROM last_analyze)::float8,
       extract(epoch FROM last_autoanalyze)::float8,
       seq_scan,
       seq_tup_read,
       idx_scan,
       idx_tup_fetch,
       n_tup_ins,
       n_tup_upd,
       n_tup_del,
       n_tup_hot_upd,
       vacuum_count,
       autovacuum_count,
       analyze_count,
       autoanalyze_count
FROM pg_stat_user_tables
WHERE relid = ANY (%(oids)s::oid[])
