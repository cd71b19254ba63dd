"""An example of each connector, which runs as it stands: `squall connectors NAME --example > my.py`."""
