-- Up to when Prometheus was looked through.
SELECT max(covered_until) FROM plimsoll.progress
