"""Edge TPUs: `pool.EdgeTpu` runs a model on them, `tryout.try_out` looks whether that works."""
