"""Lets `python -m pgtask` do what `pgtask` does."""

from pgtask.cli.main import main

main(prog_name="pgtask")
