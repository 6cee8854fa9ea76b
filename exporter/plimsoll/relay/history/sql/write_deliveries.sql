-- Adds deliveries, each once.
INSERT INTO plimsoll.delivery (
    receiver, webhook_id, fingerprints, result, http_status, duration_seconds, attempted_at
)
SELECT receiver, webhook_id, fingerprints, result, http_status, duration_seconds, attempted_at
FROM json_to_recordset(%(deliveries)s::json) AS t(
    receiver text, webhook_id text, fingerprints text[], result text, http_status integer,
    duration_seconds double precision, attempted_at timestamptz
)
ON CONFLICT ON CONSTRAINT delivery_once DO NOTHING
