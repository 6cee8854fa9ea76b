-- Deletes some deliveries, the oldest first, that are too old or too many.
DELETE FROM plimsoll.delivery
WHERE id IN (
    SELECT id
    FROM plimsoll.delivery
    WHERE attempted_at < %(oldest)s
       OR (attempted_at, id) <= (
           SELECT attempted_at, id
           FROM plimsoll.delivery
           ORDER BY attempted_at DESC, id DESC
           OFFSET %(keep)s
           LIMIT 1
       )
    ORDER BY attempted_at, id
    LIMIT %(batch)s
)
