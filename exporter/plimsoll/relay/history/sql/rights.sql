-- What the role may do here. Names are looked up by hand: to_regclass fails where the role may not look.
SELECT current_user AS role,
    current_database() AS database,
    current_setting('server_version') AS release,
    has_database_privilege(current_database(), 'CREATE') AS may_make_schema,
    n.oid IS NOT NULL AS has_schema,
    coalesce(
        has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE'), false
    ) AS may_make_tables,
    v.oid IS NOT NULL AS has_tables,
    pg_get_userbyid(v.relowner) AS owner,
    coalesce(pg_has_role(v.relowner, 'USAGE'), false) AS is_owner,
    has_schema_privilege(n.oid, 'USAGE') AND (
        SELECT bool_and(
            has_table_privilege(t.oid, 'SELECT') AND has_table_privilege(t.oid, 'INSERT')
            AND has_table_privilege(t.oid, 'UPDATE') AND has_table_privilege(t.oid, 'DELETE')
        )
        FROM pg_class t
        WHERE t.relnamespace = n.oid AND t.relowner = v.relowner AND t.relkind IN ('r', 'p')
    ) IS TRUE AS may_write
FROM (VALUES ('plimsoll')) AS ours(name)
LEFT JOIN pg_namespace n ON n.nspname = ours.name
LEFT JOIN pg_class v ON v.relnamespace = n.oid AND v.relname = 'schema_version' AND v.relkind = 'r'
