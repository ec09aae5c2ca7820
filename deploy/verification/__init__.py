"""A quantized model against its float twin."""
