"""What a model takes and how often it is right, by stated rules."""
