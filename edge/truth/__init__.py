"""What the camera really sees, as people say it: now, and in spans of time."""
