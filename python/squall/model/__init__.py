"""Frozen data that every other room speaks in: a topology as it was declared, and as it will run."""
