-- Adds the subjects that are not there yet. What is there is left out first: a conflict would use up a number.
INSERT INTO plimsoll.subject (kind, name)
SELECT t.kind, t.name
FROM json_to_recordset(%(subjects)s::json) AS t(kind text, name text)
WHERE NOT EXISTS (SELECT FROM plimsoll.subject s WHERE s.kind = t.kind AND s.name = t.name)
ON CONFLICT DO NOTHING
