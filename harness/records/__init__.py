"""Records: what is asked for, what was restored, measured and trained, as typed values and as files."""
