"""Spec to files: context, quoting, engine, packs. Pure but for the door `packs`."""
