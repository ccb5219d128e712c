"""Running: from tables to DVC stages, the steps that they run, and how a run went."""
