"""`squall feed`."""
