"""The relay: signs and forwards webhooks, keeps the history of alerts, and prolongs acknowledgements."""
