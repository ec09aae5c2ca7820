"""How often the model was right, where the truth is known."""
