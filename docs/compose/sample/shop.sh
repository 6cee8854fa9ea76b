#!/bin/sh
# Run once, when the sample is made: some tables to look at, and the exporter's role as the README has it.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" \
    --set=plimsoll="$(cat /run/plimsoll/plimsoll)" <<'SQL'
CREATE ROLE plimsoll LOGIN PASSWORD :'plimsoll' CONNECTION LIMIT 5;
GRANT pg_monitor TO plimsoll;

CREATE TABLE customer (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);
CREATE TABLE purchase (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customer,
    bought_at timestamptz NOT NULL,
    remark text NOT NULL
);
CREATE INDEX ON purchase (customer_id);
INSERT INTO customer (name) SELECT 'customer ' || number FROM generate_series(1, 1000) number;
INSERT INTO purchase (customer_id, bought_at, remark)
SELECT 1 + number % 1000, now() - number * interval '1 minute', repeat('remark ', 20)
FROM generate_series(1, 50000) number;
SQL
