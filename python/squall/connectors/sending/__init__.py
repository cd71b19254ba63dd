"""Sending records over connections that may break: what `TcpFeeder` and `TcpSink` have in common."""
