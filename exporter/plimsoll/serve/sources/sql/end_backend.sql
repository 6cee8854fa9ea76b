-- Ends a backend of ours that stays although its statement was cancelled; not another that got its number since.
SELECT pid, pg_terminate_backend(pid)
FROM pg_stat_get_activity(%(pid)s)
WHERE extract(epoch FROM backend_start)::text = %(started)s
  AND application_name = current_setting('application_name')
