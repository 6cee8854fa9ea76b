-- Deletes some deliveries, the oldest first, that are too old or too many.
DELETE FROM plimsoll.delivery
WHERE id IN (
    SELECT id
    FROM plimsoll.delivery
    WHERE at < %(oldest)s
       OR (at, id) <= (
           SELECT at, id
           FROM plimsoll.delivery
           ORDER BY at DESC, id DESC
           OFFSET %(keep)s
           LIMIT 1
       )
    ORDER BY at, id
    LIMIT %(batch)s
)
