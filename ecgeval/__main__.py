"""``python -m ecgeval``."""

from ecgeval.cli import main

main()
