"""Tables of a journal as files for other programs."""
