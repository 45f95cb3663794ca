"""Speech recognition of NVIDIA Riva over gRPC, `nvidia.riva.asr.RivaSpeechRecognition`."""
