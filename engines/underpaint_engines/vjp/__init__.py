"""The gradient of a UNet's ONNX graph, as another ONNX graph: reverse-mode differentiation."""
