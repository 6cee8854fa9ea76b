"""`plimsoll ack`: acknowledges alerts, undoes that, and lists who has taken what."""
