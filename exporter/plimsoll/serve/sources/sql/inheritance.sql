-- Partitions and other children with their first parent; indexes have their own hierarchy.
SELECT DISTINCT ON (h.inhrelid) h.inhrelid::bigint, h.inhparent::bigint
FROM pg_inherits h
JOIN pg_class c ON c.oid = h.inhrelid
WHERE c.relkind IN ('r', 'p', 'm')
ORDER BY h.inhrelid, h.inhseqno
