"""The servers: gRPC and HTTP with WebSocket. They translate between wires and the host, and decide nothing."""
