-- Who we are there, and what the role may do. pg_monitor brings pg_read_all_stats with it.
SELECT current_user::text,
       current_setting('server_version')::text,
       pg_is_in_recovery(),
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
