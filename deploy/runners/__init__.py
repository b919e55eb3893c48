"""How a model is run: in MindSpore, onnxruntime, or MindSpore Lite through the C++ program."""
