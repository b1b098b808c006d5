"""``python -m pipelines``."""

from pipelines.run import main

main()
