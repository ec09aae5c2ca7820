"""From a Keras model to a verified bundle: recipes, calibration, metadata."""
