-- What became of each attempt to tell a receiver: whoever was not paged asks whether the webhook arrived.

CREATE TABLE plimsoll.delivery (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    receiver text NOT NULL CONSTRAINT delivery_receiver_filled CHECK (receiver <> ''),
    webhook_id text NOT NULL,
    fingerprints text[] NOT NULL,
    result text NOT NULL CONSTRAINT delivery_result_filled CHECK (result <> ''),
    http_status integer,
    duration_seconds double precision NOT NULL CONSTRAINT delivery_duration_positive CHECK (duration_seconds >= 0),
    attempted_at timestamptz NOT NULL,
    -- "What became of this notification?", each attempt. And a batch that is written again, because nobody heard
    -- that it was written, must not double.
    CONSTRAINT delivery_once UNIQUE (webhook_id, receiver, attempted_at)
);

COMMENT ON TABLE plimsoll.delivery IS
    'Attempts to hand a notification to a receiver, as far as they could be written: not a complete account';
COMMENT ON COLUMN plimsoll.delivery.receiver IS 'Its name in the configuration, under webhooks';
COMMENT ON COLUMN plimsoll.delivery.webhook_id IS 'What the receiver tells duplicates by; the same for all attempts';
COMMENT ON COLUMN plimsoll.delivery.fingerprints IS 'Of the alerts in it, as in alert.fingerprint';
COMMENT ON COLUMN plimsoll.delivery.result IS
    'delivered, refused, redirected, throttled, failed, timeout or unreachable, as plimsoll_webhook_deliveries_total';
COMMENT ON COLUMN plimsoll.delivery.http_status IS 'Of the receiver''s answer; NULL where there was none';
COMMENT ON COLUMN plimsoll.delivery.duration_seconds IS 'From the attempt until the receiver''s answer, or until it was given up';
COMMENT ON COLUMN plimsoll.delivery.attempted_at IS 'When the attempt began';

-- "What happened to this receiver lately?"
CREATE INDEX delivery_receiver_attempted_at ON plimsoll.delivery (receiver, attempted_at);
-- "What went wrong last night?", and what is old enough to be deleted. And "Was the receiver told of this alert?", the
-- newest first: PostgreSQL would not use an index on fingerprints for that, with a LIMIT, and 100,000 rows take 0.3 s.
CREATE INDEX delivery_attempted_at ON plimsoll.delivery (attempted_at, id);
