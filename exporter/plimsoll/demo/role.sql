-- The role Plimsoll logs in with: it may see every size and statistic, and change nothing.
-- Run this once per server as a superuser, with a password of your own.
-- The connection limit is a second fence: the exporter itself opens 2 at most; the rest is for another exporter
-- that takes over during a redeployment, and for `plimsoll check --connect`.
CREATE ROLE plimsoll LOGIN PASSWORD 'change-me' CONNECTION LIMIT 5;
GRANT pg_monitor TO plimsoll;

-- Every role may connect to every database, unless that was revoked. Where it was, per database:
-- GRANT CONNECT ON DATABASE billing TO plimsoll;
