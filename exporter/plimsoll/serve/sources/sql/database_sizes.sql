-- Bytes of each database asked for; NULL for one that was dropped meanwhile.
SELECT d.oid::bigint, pg_database_size(d.oid)
FROM pg_database d
WHERE d.oid = ANY (%(oids)s::oid[])
