"""What `squall dead` does with dead letters."""
