"""From a network to MINDIR, ONNX or AIR."""
