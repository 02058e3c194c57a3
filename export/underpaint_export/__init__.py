"""Exporters: a PyTorch checkpoint becomes a bundle of ONNX graphs that compiled engines open."""
