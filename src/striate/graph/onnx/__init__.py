"""What each ONNX operator means in terms of layers: one file a family, and the state of a file that is read."""
