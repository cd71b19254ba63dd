"""Sources and sinks, one file each; what one needs is imported only there."""
