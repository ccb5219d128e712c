"""Figures for a paper: crops of restored images, curves over levels, quality against cost; as PDF, PNG, SVG, LaTeX."""
