-- For each table a sum over its indexes, its TOAST relation and that one's index, with their files: another sum means
-- that one was built, rebuilt, moved or dropped.
SELECT COALESCE(owner.oid, i.indrelid, c.oid)::bigint,
       sum(hashint8extended(c.relfilenode::bigint, c.oid::bigint))::text
FROM pg_class c
LEFT JOIN pg_index i ON i.indexrelid = c.oid
LEFT JOIN pg_class owner ON owner.reltoastrelid = COALESCE(i.indrelid, c.oid)
WHERE c.relkind IN ('i', 't')
  AND c.relpersistence <> 't'
GROUP BY 1
