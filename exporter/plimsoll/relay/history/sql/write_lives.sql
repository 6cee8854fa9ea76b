-- Writes lives, of which no two may be of the same alert: each updates the row that it is about, or becomes one,
-- or is over already. Rows in which nothing changes are not written.
WITH told AS MATERIALIZED (
    SELECT *
    FROM json_to_recordset(%(lives)s::json) AS t(
        fingerprint text, alertmanager_fingerprint text, kind text, name text, organization text, category text,
        alertname text, severity text, title text, message text, threshold text, actual_value text,
        annotations jsonb, labels jsonb, starts_at timestamptz, last_seen timestamptz,
        acknowledged_at timestamptz, acknowledged_by text, acknowledged_comment text,
        acknowledged_until timestamptz, silence_id text, ended_at timestamptz, auto_resolved boolean
    )
), matched AS MATERIALIZED (
    SELECT told.*,
        u.id IS NULL AND r.id IS NULL AS is_new,
        CASE
            WHEN u.id IS NOT NULL THEN u.id
            -- Resolved wrongly: somebody has seen it fire long after.
            WHEN told.last_seen > r.resolved_at + %(grace)s THEN r.id
            -- A notice knows better than a conclusion.
            WHEN r.auto_resolved AND NOT told.auto_resolved THEN r.id
        END AS id
    FROM told
    LEFT JOIN plimsoll.alert u
        ON u.fingerprint = told.fingerprint
        AND u.status <> 'resolved'
        AND (told.ended_at IS NULL OR u.created_at <= told.ended_at)
    LEFT JOIN LATERAL (
        SELECT id, created_at, resolved_at, auto_resolved
        FROM plimsoll.alert
        WHERE fingerprint = told.fingerprint
            AND resolved_at >= told.starts_at
            -- A life that began later is another, even if this one is told only now.
            AND (told.ended_at IS NULL OR created_at <= greatest(told.ended_at, told.starts_at))
        ORDER BY resolved_at DESC
        LIMIT 1
    ) r ON true
), merged AS MATERIALIZED (
    SELECT a.id,
        a AS old,
        CASE
            WHEN m.starts_at < a.created_at AND NOT EXISTS (
                SELECT FROM plimsoll.alert o
                WHERE o.fingerprint = m.fingerprint AND o.id <> a.id AND o.resolved_at >= m.starts_at
            ) THEN m.starts_at
            ELSE a.created_at
        END AS created_at,
        greatest(m.last_seen, seen.at) AS last_seen_at,
        known.*,
        texts.*,
        taken.*,
        m.ended_at,
        m.auto_resolved
    FROM matched m
    JOIN plimsoll.alert a ON a.id = m.id
    -- A clock may have been ahead when the row was written.
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN a.last_seen_at > %(now)s::timestamptz + interval '1 hour' THEN m.last_seen
            ELSE a.last_seen_at
        END AS at
    ) AS seen
    -- What was seen before the row was last written is older than what stands there.
    CROSS JOIN LATERAL (SELECT m.last_seen >= seen.at AS yes) AS newer
    CROSS JOIN LATERAL (
        SELECT m.severity, m.labels,
            coalesce(m.alertmanager_fingerprint, a.alertmanager_fingerprint) AS alertmanager_fingerprint
        WHERE newer.yes
        UNION ALL
        SELECT a.severity, a.labels, coalesce(a.alertmanager_fingerprint, m.alertmanager_fingerprint)
        WHERE NOT newer.yes
    ) AS known
    CROSS JOIN LATERAL (
        SELECT m.title, m.message, m.threshold, m.actual_value, m.annotations
        WHERE newer.yes AND m.annotations IS NOT NULL
        UNION ALL
        SELECT a.title, a.message, a.threshold, a.actual_value, a.annotations
        WHERE NOT (newer.yes AND m.annotations IS NOT NULL)
    ) AS texts
    -- Who took it stays when it has resolved; before that, nobody any more means undone.
    CROSS JOIN LATERAL (
        SELECT CASE WHEN m.ended_at IS NULL THEN newer.yes ELSE m.acknowledged_at IS NOT NULL END AS follows
    ) AS choice
    CROSS JOIN LATERAL (
        SELECT m.acknowledged_at, m.acknowledged_by, m.acknowledged_comment, m.acknowledged_until, m.silence_id
        WHERE choice.follows
        UNION ALL
        SELECT a.acknowledged_at, a.acknowledged_by, a.acknowledged_comment, a.acknowledged_until, a.silence_id
        WHERE NOT choice.follows
    ) AS taken
), settled AS MATERIALIZED (
    SELECT merged.*,
        CASE
            WHEN ended_at IS NOT NULL THEN 'resolved'
            WHEN acknowledged_at IS NOT NULL THEN 'acknowledged'
            ELSE 'open'
        END AS status,
        CASE WHEN ended_at IS NOT NULL THEN greatest(ended_at, created_at) END AS resolved_at
    FROM merged
), compared AS MATERIALIZED (
    SELECT s.*,
        (s.alertmanager_fingerprint, s.created_at, s.severity, s.labels,
         s.title, s.message, s.threshold, s.actual_value, s.annotations,
         s.acknowledged_at, s.acknowledged_by, s.acknowledged_comment, s.acknowledged_until, s.silence_id,
         s.status, s.resolved_at, s.auto_resolved)
        IS DISTINCT FROM
        ((s.old).alertmanager_fingerprint, (s.old).created_at, (s.old).severity, (s.old).labels,
         (s.old).title, (s.old).message, (s.old).threshold, (s.old).actual_value, (s.old).annotations,
         (s.old).acknowledged_at, (s.old).acknowledged_by, (s.old).acknowledged_comment,
         (s.old).acknowledged_until, (s.old).silence_id,
         (s.old).status, (s.old).resolved_at, (s.old).auto_resolved) AS changed
    FROM settled s
), updated AS (
    UPDATE plimsoll.alert a
    SET alertmanager_fingerprint = c.alertmanager_fingerprint,
        created_at = c.created_at,
        severity = c.severity,
        labels = c.labels,
        title = c.title,
        message = c.message,
        threshold = c.threshold,
        actual_value = c.actual_value,
        annotations = c.annotations,
        acknowledged_at = c.acknowledged_at,
        acknowledged_by = c.acknowledged_by,
        acknowledged_comment = c.acknowledged_comment,
        acknowledged_until = c.acknowledged_until,
        silence_id = c.silence_id,
        status = c.status,
        resolved_at = c.resolved_at,
        auto_resolved = c.auto_resolved,
        last_seen_at = c.last_seen_at,
        updated_at = CASE WHEN c.changed THEN %(now)s ELSE a.updated_at END
    FROM compared c
    WHERE a.id = c.id AND (c.changed OR (c.old).last_seen_at <= c.last_seen_at - %(behind)s)
)
INSERT INTO plimsoll.alert (
    subject_id, fingerprint, alertmanager_fingerprint, organization, category, alertname, severity, status,
    title, message, threshold, actual_value, annotations, labels, created_at,
    acknowledged_at, acknowledged_by, acknowledged_comment, acknowledged_until, silence_id,
    resolved_at, auto_resolved, last_seen_at, updated_at
)
SELECT s.id, m.fingerprint, m.alertmanager_fingerprint, m.organization, m.category, m.alertname, m.severity,
    CASE
        WHEN m.ended_at IS NOT NULL THEN 'resolved'
        WHEN m.acknowledged_at IS NOT NULL THEN 'acknowledged'
        ELSE 'open'
    END,
    m.title, m.message, m.threshold, m.actual_value, m.annotations, m.labels, m.starts_at,
    m.acknowledged_at, m.acknowledged_by, m.acknowledged_comment, m.acknowledged_until, m.silence_id,
    CASE WHEN m.ended_at IS NOT NULL THEN greatest(m.ended_at, m.starts_at) END, m.auto_resolved,
    m.last_seen, %(now)s
FROM matched m
JOIN plimsoll.subject s ON s.kind = m.kind AND s.name = m.name
WHERE m.is_new
ORDER BY m.starts_at
