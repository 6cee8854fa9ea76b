-- Which alerts have resolved of late, and when: so that who has just started tells the next life from the last.
SELECT fingerprint, max(resolved_at) AS resolved_at
FROM plimsoll.alert
WHERE resolved_at > %(since)s
GROUP BY fingerprint
