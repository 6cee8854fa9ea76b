"""What Alertmanager and Prometheus are asked."""
