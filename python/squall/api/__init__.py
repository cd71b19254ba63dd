"""What users subclass and call."""
