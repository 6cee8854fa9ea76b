-- What create_schema made. The schema itself stays where an administrator made it, or others use it.
DROP TABLE plimsoll.schema_version;

DO $$
BEGIN
    IF obj_description(to_regnamespace('plimsoll'), 'pg_namespace') = 'made by plimsoll relay' THEN
        DROP SCHEMA plimsoll;
    END IF;
EXCEPTION WHEN dependent_objects_still_exist THEN
    NULL;
END
$$;
