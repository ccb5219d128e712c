"""Reproduces the tables of image-restoration papers and says which published numbers hold."""

__version__ = "0.1.0"
