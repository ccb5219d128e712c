"""Rendered tables: Markdown, CSV, LaTeX, JSON and the terminal."""
