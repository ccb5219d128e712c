"""What few need: RO-Crates, and archives for benchmarks that their own server scores."""
