"""Settings: one table, and where values come from."""
