-- What became of each attempt to tell a receiver: whoever was not paged asks whether the webhook arrived.

CREATE TABLE plimsoll.delivery (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    receiver text NOT NULL CONSTRAINT delivery_receiver_filled CHECK (receiver <> ''),
    webhook_id text NOT NULL,
    fingerprints text[] NOT NULL,
    result text NOT NULL CONSTRAINT delivery_result_filled CHECK (result <> ''),
    status integer,
    duration_seconds double precision NOT NULL CONSTRAINT delivery_duration_positive CHECK (duration_seconds >= 0),
    at timestamptz NOT NULL,
    -- "What became of this notification?", each attempt. And a batch that is written again, because nobody heard
    -- that it was written, must not double.
    CONSTRAINT delivery_once UNIQUE (webhook_id, receiver, at)
);

COMMENT ON TABLE plimsoll.delivery IS
    'Attempts to hand a notification to a receiver, as far as they could be written: not a complete account';
COMMENT ON COLUMN plimsoll.delivery.webhook_id IS 'What the receiver tells duplicates by; the same for all attempts';
COMMENT ON COLUMN plimsoll.delivery.fingerprints IS 'Of the alerts in it, as in alert.fingerprint';
COMMENT ON COLUMN plimsoll.delivery.status IS 'Of the receiver''s answer; NULL where there was none';

-- "What happened to this receiver lately?"
CREATE INDEX delivery_receiver_at ON plimsoll.delivery (receiver, at);
-- "What went wrong last night?", and what is old enough to be deleted.
CREATE INDEX delivery_at ON plimsoll.delivery (at, id);
