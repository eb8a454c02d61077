"""Benchmarks: each a script that measures one thing, its result as JSON, a plot, and a table in README.md."""
