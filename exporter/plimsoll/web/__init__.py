"""What every web server of Plimsoll has in common."""
