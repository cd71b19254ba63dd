"""Inside a worker: from a plan to running tasks."""
