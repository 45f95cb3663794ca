"""Messages as bytes: JSON for WebSocket and protobuf for gRPC, shared by the gateway and the client."""
