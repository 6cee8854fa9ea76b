#!/bin/sh
# Run once, when the database of the history is made: roles, each with the least that it needs.
# The image either runs or sources this, so it leaves no settings of the shell behind.
secret() { cat "/run/plimsoll/$1"; }

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" \
    --set=relay="$(secret relay)" --set=grafana="$(secret grafana)" --set=plimsoll="$(secret plimsoll)" <<'SQL'
REVOKE ALL ON DATABASE history FROM PUBLIC;

-- The relay's role owns the schema and nothing else.
CREATE ROLE relay LOGIN PASSWORD :'relay';
GRANT CONNECT ON DATABASE history TO relay;
CREATE SCHEMA plimsoll AUTHORIZATION relay;

-- Grafana's may read what the relay makes there.
CREATE ROLE grafana LOGIN PASSWORD :'grafana' CONNECTION LIMIT 10;
GRANT CONNECT ON DATABASE history TO grafana;
GRANT USAGE ON SCHEMA plimsoll TO grafana;
ALTER DEFAULT PRIVILEGES FOR ROLE relay IN SCHEMA plimsoll GRANT SELECT ON TABLES TO grafana;

-- The exporter's, as the README has it.
CREATE ROLE plimsoll LOGIN PASSWORD :'plimsoll' CONNECTION LIMIT 5;
GRANT CONNECT ON DATABASE history TO plimsoll;
GRANT pg_monitor TO plimsoll;
SQL
