"""Training: recipes as data, batches degraded as the evaluation degrades, a loop that resumes to the same bits."""
