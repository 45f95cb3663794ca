"""The protocol of one stream, without sockets, threads, clocks or models."""
