"""The steps of the pipeline: make inputs, restore, measure, render. Each is one DVC stage and one command."""
