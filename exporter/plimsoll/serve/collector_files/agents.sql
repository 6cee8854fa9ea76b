-- What the collector file agents.yml reads: agents, their runs and their tasks. Run this as the owner of the
-- application's database, in that database; it may be run again.
--
-- An application either writes into these tables, or leaves them out and maps what it has: views of the same
-- names and columns, with a column that it does not know as NULL of the same type. NULL is unknown, and then
-- nothing is said. A view reads its tables with the rights of its owner, so the grants at the end suffice.
--
--     CREATE VIEW plimsoll_agents.tasks AS
--     SELECT worker::text AS agent, id::text AS task, started_at, finished_at
--     FROM public.jobs WHERE state <> 'queued';
--
-- The indexes named here, on the application's own tables, are what keeps the queries cheap then.
BEGIN;

CREATE SCHEMA IF NOT EXISTS plimsoll_agents;

-- One row for each agent that should live; the name is the label `agent`, so it has to be unique.
CREATE TABLE IF NOT EXISTS plimsoll_agents.agents (
    agent text PRIMARY KEY CHECK (agent <> ''),
    -- Its last sign of life: to be written about every 30 seconds. From its registration, silence counts.
    heartbeat_at timestamptz DEFAULT now(),
    -- Whether it reaches its gateway; NULL for an agent that needs none.
    gateway_connected boolean,
    -- Of its present conversation, and what the model takes at most.
    context_tokens bigint,
    context_window_tokens bigint,
    -- When it was taken out of service: nothing is said of it any more. Deleting the row does the same.
    decommissioned_at timestamptz
);

-- One row for each run that has ended: a request, a job, a turn. Only the last hour is read, so older rows may
-- go at any time; runs of an agent without a row above are ignored.
CREATE TABLE IF NOT EXISTS plimsoll_agents.runs (
    agent text NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT now(),
    failed boolean NOT NULL,
    cost_dollars numeric
);
CREATE INDEX IF NOT EXISTS runs_finished_at
    ON plimsoll_agents.runs (finished_at) INCLUDE (agent, failed, cost_dollars);

-- One row for each task; it is in progress from started_at until there is a finished_at.
CREATE TABLE IF NOT EXISTS plimsoll_agents.tasks (
    agent text NOT NULL,
    task text NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (agent, task)
);
CREATE INDEX IF NOT EXISTS tasks_in_progress
    ON plimsoll_agents.tasks (agent, started_at) WHERE finished_at IS NULL;

GRANT USAGE ON SCHEMA plimsoll_agents TO plimsoll;
GRANT SELECT ON ALL TABLES IN SCHEMA plimsoll_agents TO plimsoll;

COMMIT;
