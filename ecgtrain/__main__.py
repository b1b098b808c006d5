"""Lets ``python -m ecgtrain`` and ``torchrun -m ecgtrain`` run the program."""

from ecgtrain.cli import main

main()
