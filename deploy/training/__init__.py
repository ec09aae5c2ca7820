"""Transfer learning on cached features, and what it leaves to read."""
