-- Every life that has not ended.
SELECT fingerprint, alertmanager_fingerprint, labels, title, message, threshold, actual_value, annotations,
    created_at, last_seen_at,
    acknowledged_at, acknowledged_by, acknowledged_comment, silence_id, acknowledged_until
FROM plimsoll.alert
WHERE status <> 'resolved'
ORDER BY id
