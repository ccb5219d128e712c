"""The command line. Each module holds the commands of one subject; `main` lists them and runs them."""

from harness.cli.main import harness, main

__all__ = ["harness", "main"]
