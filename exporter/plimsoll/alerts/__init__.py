"""Alerts: what is shipped, what users change, and the rules and routes that are compiled from both."""
