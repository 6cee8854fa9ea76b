-- Adds deliveries, each once.
INSERT INTO plimsoll.delivery (receiver, webhook_id, fingerprints, result, status, duration_seconds, at)
SELECT receiver, webhook_id, fingerprints, result, status, duration_seconds, at
FROM json_to_recordset(%(deliveries)s::json) AS t(
    receiver text, webhook_id text, fingerprints text[], result text, status integer,
    duration_seconds double precision, at timestamptz
)
ON CONFLICT ON CONSTRAINT delivery_once DO NOTHING
