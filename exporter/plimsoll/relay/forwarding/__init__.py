"""From Alertmanager to receivers: what is posted to the relay is signed and passed on."""
