"""`python -m analog_ep` is the command `analog-ep`."""

from analog_ep.cli import main

main()
