"""`python -m squall.cli` is `squall`."""

from squall.cli.app import main

main()
