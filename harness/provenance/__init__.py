"""Provenance: what made a number, from the published table to the pixels, and how to make it again."""
