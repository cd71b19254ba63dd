"""A run's figures for programs that collect them: Prometheus text, OpenTelemetry."""
