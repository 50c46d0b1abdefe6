"""Colours of the pictures: those of Okabe and Ito, which the colour-blind can tell apart, and a method's is its own."""

from __future__ import annotations

__all__ = ["BLUE", "FURTHER", "GREEN", "GREY", "METHODS", "ORANGE", "RED", "SKY"]

BLUE, ORANGE, GREEN, RED, GREY, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#7F7F7F", "#56B4E9"
METHODS = {
    "float": GREY,
    "bwn": SKY,
    "binaryconnect": BLUE,
    "xnor": RED,
    "bnn": ORANGE,
    "bireal": "#CC79A7",
    "reactnet": GREEN,
    "bwn-learned": "#117733",
    "xnor-learned": "#117733",
    "xnor-cbap": "#332288",
}
FURTHER = ("#882255", "#44AA99", "#000000", "#999933", "#661100")  # of what is else changed in one
