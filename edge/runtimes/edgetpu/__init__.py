"""Edge TPUs, each held by a process of its own."""
