-- Which backend serves us: its number and when it began. Names are qualified, for the search_path is the role's own.
SELECT pid, extract(epoch FROM backend_start)::pg_catalog.text
FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())
