"""The live view: events in, a screen out."""
