-- Moves forward up to when Prometheus was looked through, and never back, unless a clock was ahead when it was written.
INSERT INTO plimsoll.progress AS p (covered_until)
VALUES (%(covered_until)s)
ON CONFLICT (one) DO UPDATE
SET covered_until = excluded.covered_until
WHERE p.covered_until IS NULL
    OR p.covered_until < excluded.covered_until
    OR p.covered_until > %(now)s::timestamptz + interval '1 hour'
