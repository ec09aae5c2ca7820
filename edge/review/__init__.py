"""A sample of the frames as pictures, with known weights, for a person to tell what they really show."""
