"""What a designer would do with an exported netlist, done here: run it, and compare what it prints."""

from analog_ep.checking.decks import MOST_BRANCHES, check_decks, decks_left_out

__all__ = ["MOST_BRANCHES", "check_decks", "decks_left_out"]
