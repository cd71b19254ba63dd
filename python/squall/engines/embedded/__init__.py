"""The engine inside `squall run`: one parent, its worker process, nothing else."""
