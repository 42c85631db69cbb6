"""What a designer would do with an exported netlist, done here: run it, and compare what it prints."""

from analog_ep.checking.decks import check_decks

__all__ = ["check_decks"]
