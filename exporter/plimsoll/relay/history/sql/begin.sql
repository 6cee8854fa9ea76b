-- Begins a transaction that knows what it rests on, whatever role, database or server have set; it ends when we
-- have vanished, and one relay's waits for another's. The number is the word plimsoll in ASCII.
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL statement_timeout = {statement_timeout};
SET LOCAL lock_timeout = {lock_timeout};
SET LOCAL idle_in_transaction_session_timeout = {idle_timeout};
SET LOCAL DateStyle = ISO;
SET LOCAL TimeZone = 'UTC';
SET LOCAL standard_conforming_strings = on;
SET LOCAL jit = off;
SELECT pg_advisory_xact_lock(8100965748541713516)
