"""Device cards: the parameters of one measured or published device in TOML, by name or by path."""

from analog_ep.cards.card import KINDS, Card, Quantity
from analog_ep.cards.loading import card_names, given_parameters, load_card, pulsed_device, require_device

__all__ = [
    "KINDS",
    "Card",
    "Quantity",
    "card_names",
    "given_parameters",
    "load_card",
    "pulsed_device",
    "require_device",
]
