-- What fired, when, about what, who took it and how it ended; and how far Prometheus was looked through, so that
-- what happened while the relay was away is found afterwards.

CREATE TABLE plimsoll.subject (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CONSTRAINT subject_kind_known CHECK (kind IN ('server', 'engine', 'host', 'plimsoll')),
    name text NOT NULL CONSTRAINT subject_name_filled CHECK (name <> ''),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT subject_once UNIQUE (kind, name)
);

COMMENT ON TABLE plimsoll.subject IS
    'What alerts are about. Deleting one deletes its alerts; it comes back when an alert about it fires.';
COMMENT ON COLUMN plimsoll.subject.name IS 'As in the label server, engine or instance (without the port), or plimsoll';
COMMENT ON COLUMN plimsoll.subject.created_at IS 'When the relay first wrote of it';
COMMENT ON COLUMN plimsoll.subject.kind IS
    'server (PostgreSQL), engine (containers), host, or plimsoll for alerts about none of these';

CREATE TABLE plimsoll.alert (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject_id bigint NOT NULL REFERENCES plimsoll.subject ON DELETE CASCADE,
    fingerprint text NOT NULL,
    alertmanager_fingerprint text,
    organization text,
    category text,
    alertname text NOT NULL CONSTRAINT alert_alertname_filled CHECK (alertname <> ''),
    severity text NOT NULL CONSTRAINT alert_severity_known
        CHECK (severity IN ('critical', 'high', 'warning', 'medium', 'low', 'info', 'unknown')),
    status text NOT NULL CONSTRAINT alert_status_known CHECK (status IN ('open', 'acknowledged', 'resolved')),
    title text NOT NULL
        CONSTRAINT alert_title_filled CHECK (title <> '')
        CONSTRAINT alert_title_length CHECK (char_length(title) <= 255),
    message text,
    threshold text,
    actual_value text,
    annotations jsonb CONSTRAINT alert_annotations_object CHECK (jsonb_typeof(annotations) = 'object'),
    labels jsonb NOT NULL CONSTRAINT alert_labels_object CHECK (jsonb_typeof(labels) = 'object'),
    created_at timestamptz NOT NULL,
    acknowledged_at timestamptz,
    acknowledged_by text,
    acknowledged_comment text,
    acknowledged_until timestamptz,
    silence_id text,
    resolved_at timestamptz,
    auto_resolved boolean,
    last_seen_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT alert_resolved_whole CHECK (
        (status = 'resolved') = (resolved_at IS NOT NULL)
        AND (resolved_at IS NULL) = (auto_resolved IS NULL)
    ),
    CONSTRAINT alert_resolved_after_created CHECK (resolved_at >= created_at),
    CONSTRAINT alert_acknowledgement_whole CHECK (
        num_nulls(acknowledged_at, acknowledged_by) = 0
        OR num_nonnulls(
            acknowledged_at, acknowledged_by, acknowledged_comment, acknowledged_until, silence_id
        ) = 0
    ),
    CONSTRAINT alert_acknowledged_by_somebody CHECK (status <> 'acknowledged' OR acknowledged_at IS NOT NULL),
    CONSTRAINT alert_open_by_nobody CHECK (status <> 'open' OR acknowledged_at IS NULL)
)
-- An alert that fires changes its texts at each look: with room beside it, no index hears of that.
WITH (fillfactor = 70);

COMMENT ON TABLE plimsoll.alert IS 'One row is one life of an alert: from when it began to fire until it resolved.';
COMMENT ON COLUMN plimsoll.alert.fingerprint IS
    'The same for all lives of an alert: of its labels without severity and override';
COMMENT ON COLUMN plimsoll.alert.alertmanager_fingerprint IS
    'What Alertmanager calls it, of all labels; NULL where only Prometheus told of it';
COMMENT ON COLUMN plimsoll.alert.subject_id IS 'What it is about; with that it goes';
COMMENT ON COLUMN plimsoll.alert.organization IS 'The label organization; NULL where there is none';
COMMENT ON COLUMN plimsoll.alert.category IS 'The label category; NULL where there is none';
COMMENT ON COLUMN plimsoll.alert.alertname IS 'The label alertname; (no name) where there is none';
COMMENT ON COLUMN plimsoll.alert.status IS
    'open: nobody has taken it; acknowledged: somebody has, and it still fires; resolved, whether anybody had taken it or not';
COMMENT ON COLUMN plimsoll.alert.severity IS
    'unknown where the label says none of ours. To sort, the gravest first: '
    'array_position(ARRAY[''critical'', ''high'', ''warning'', ''medium'', ''low'', ''info'', ''unknown''], severity)';
COMMENT ON COLUMN plimsoll.alert.title IS 'The annotation summary, or else the alert''s name';
COMMENT ON COLUMN plimsoll.alert.message IS 'The annotation description';
COMMENT ON COLUMN plimsoll.alert.threshold IS 'The annotation of that name, as people read it: 80 GB';
COMMENT ON COLUMN plimsoll.alert.actual_value IS 'The annotation value, as it last was while the alert fired';
COMMENT ON COLUMN plimsoll.alert.annotations IS
    'Those without a column, and a summary longer than a title; NULL where none are known, since only Prometheus told';
COMMENT ON COLUMN plimsoll.alert.labels IS 'All labels, as they last were while the alert fired';
COMMENT ON COLUMN plimsoll.alert.created_at IS 'The earliest start that anybody told of';
COMMENT ON COLUMN plimsoll.alert.acknowledged_at IS 'When somebody took it; NULL where nobody has, or it was undone';
COMMENT ON COLUMN plimsoll.alert.acknowledged_by IS 'Who did, as the silence says';
COMMENT ON COLUMN plimsoll.alert.acknowledged_comment IS 'What the silence says';
COMMENT ON COLUMN plimsoll.alert.acknowledged_until IS 'When the acknowledgement ends even if the alert still fires';
COMMENT ON COLUMN plimsoll.alert.silence_id IS 'The silence in Alertmanager that is the acknowledgement';
COMMENT ON COLUMN plimsoll.alert.resolved_at IS
    'When it resolved, or was last seen to fire if nobody told that it resolved; NULL while it fires';
COMMENT ON COLUMN plimsoll.alert.auto_resolved IS
    'true: concluded from its absence; false: Alertmanager sent a notice that it resolved';
COMMENT ON COLUMN plimsoll.alert.last_seen_at IS 'When it was seen to fire, up to a minute behind';
COMMENT ON COLUMN plimsoll.alert.updated_at IS 'When anything but last_seen_at changed';

-- Two relays, or a mistake of one, must never make two rows of what fires once.
CREATE UNIQUE INDEX alert_unresolved_once ON plimsoll.alert (fingerprint) WHERE status <> 'resolved';
-- "What is open on this server?", and what goes when the server goes.
CREATE INDEX alert_subject_status ON plimsoll.alert (subject_id, status);
-- "Which critical ones has nobody taken?"
CREATE INDEX alert_severity_status ON plimsoll.alert (severity, status);
-- "What began last night?"
CREATE INDEX alert_created_at ON plimsoll.alert (created_at);
-- "What was resolved this week?", and what is old enough to be deleted.
CREATE INDEX alert_resolved_at ON plimsoll.alert (resolved_at, id);
-- "When did this alert fire before?", the latest life first; and the relay: is this life over already?
CREATE INDEX alert_fingerprint_resolved_at ON plimsoll.alert (fingerprint, resolved_at DESC);

CREATE TABLE plimsoll.progress (
    one boolean PRIMARY KEY DEFAULT true CONSTRAINT progress_one_row CHECK (one),
    covered_until timestamptz
);

COMMENT ON TABLE plimsoll.progress IS 'How far the relays have looked back: one row';
COMMENT ON COLUMN plimsoll.progress.one IS 'Always true: there is no second row';
COMMENT ON COLUMN plimsoll.progress.covered_until IS
    'Up to when Prometheus'' ALERTS have been looked through; NULL is never';

INSERT INTO plimsoll.progress DEFAULT VALUES;
