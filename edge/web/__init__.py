"""The live page: what the camera sees and the model answers, for people on the same network."""
