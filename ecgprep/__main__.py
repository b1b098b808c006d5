"""``python -m ecgprep``."""

from ecgprep.cli import main

main()
