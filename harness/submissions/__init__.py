"""Archives for benchmarks whose ground truth is not given out: what their servers score."""
