"""The exporter: measures and publishes, and never calls out."""
