"""Tasks, protocols, MTEB, agreement, retention, speed, and their report."""
