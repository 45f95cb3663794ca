"""Import of sherpa-onnx's streaming models: several ONNX files and their metadata become one bundle of this server.

The modules of this package need the package `onnx`, which is the optional extra `convert`.
"""
