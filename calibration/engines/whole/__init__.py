"""Engines that run whole models in a process of their own: llama.cpp and ONNX Runtime."""
