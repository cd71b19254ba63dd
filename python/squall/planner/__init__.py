"""From what was declared to what will run: checks, bindings, task numbers. Pure."""
