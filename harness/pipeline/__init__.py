"""From tables to DVC stages: which cells a table asks for, and what each depends on."""
