-- The databases of the server. datconnlimit is -2 where DROP DATABASE was interrupted.
SELECT d.oid::bigint,
       d.datname::text,
       d.datistemplate,
       d.datallowconn AND d.datconnlimit NOT IN (-2, 0) AS allows_connections,
       has_database_privilege(d.oid, 'CONNECT') AS may_connect
FROM pg_database d
ORDER BY d.datname
