"""Tables: published numbers as data, the cells they ask for, and the verdict on each."""
