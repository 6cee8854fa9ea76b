-- The schema and the table of its versions. The schema may be there already, made by an administrator for a role
-- that must not create any: IF NOT EXISTS would ask for that right even so. Its comment tells that it is ours.
DO $$
BEGIN
    IF to_regnamespace('plimsoll') IS NULL THEN
        CREATE SCHEMA plimsoll;
        COMMENT ON SCHEMA plimsoll IS 'made by plimsoll relay';
    END IF;
END
$$;

CREATE TABLE plimsoll.schema_version (
    version integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE plimsoll.schema_version IS 'The migrations that were applied; the highest is the version of the schema';
COMMENT ON COLUMN plimsoll.schema_version.version IS 'Counts from 1';
COMMENT ON COLUMN plimsoll.schema_version.name IS 'What the migration is called';
COMMENT ON COLUMN plimsoll.schema_version.applied_at IS 'When it was applied';
