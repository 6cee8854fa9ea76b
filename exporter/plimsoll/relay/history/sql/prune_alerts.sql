-- Deletes some resolved alerts, the oldest first, that are too old or too many. None so young that a relay which
-- is late could tell of it once more.
DELETE FROM plimsoll.alert
WHERE id IN (
    SELECT id
    FROM plimsoll.alert
    WHERE resolved_at < %(youngest)s
      AND (
          resolved_at < %(oldest)s
          OR (resolved_at, id) <= (
              SELECT resolved_at, id
              FROM plimsoll.alert
              WHERE resolved_at IS NOT NULL
              ORDER BY resolved_at DESC, id DESC
              OFFSET %(keep)s
              LIMIT 1
          )
      )
    ORDER BY resolved_at, id
    LIMIT %(batch)s
)
