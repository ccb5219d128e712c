"""Released weights: the registry of files, how to get them, importing them without running anything in them."""
