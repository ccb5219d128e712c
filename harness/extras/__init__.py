"""What few need: RO-Crates, archives for benchmarks with a server of their own, networks as ONNX and TorchScript."""
