"""`python -m latmodel`."""

from .cli import main

main()
