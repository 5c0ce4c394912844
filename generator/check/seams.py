"""The seams between artifacts."""

from generator.check import Check

CHECKS: tuple[Check, ...] = ()
