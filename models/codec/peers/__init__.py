"""Other codecs to measure beside ours: the libraries of Debian through ctypes, and Lyra v2 through LiteRT."""
