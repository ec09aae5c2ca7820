"""What any .tflite is made of, without a runtime."""
