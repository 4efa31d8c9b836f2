"""``python -m diffprog``: the command line."""

from diffprog.cli import main

main()
