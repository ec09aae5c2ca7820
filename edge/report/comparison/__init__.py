"""Two recordings side by side: what differs, and what cannot be told."""
