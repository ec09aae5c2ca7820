"""The loop: frames in, answers out, in this thread, ahead, or on several accelerators at once."""
