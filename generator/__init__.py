"""gen: one app spec in, complete deployment artifacts out."""

__version__ = "0.1.0"
