"""The TensorRT engines: a bundle's graphs compiled for NVIDIA GPUs.

``rtx`` is TensorRT-RTX, whose wheels are on PyPI and which compiles for a GPU that is not there;
``standard`` is TensorRT, which compiles on the GPU it is to run on. Both have one API.

Until an engine has run on a GPU that it supports, tables of what was measured say of it "compiled,
not executed".
"""
