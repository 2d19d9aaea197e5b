"""Benchmarks, one a file: `make bench-NAME` runs it, `NAME.md` has its method and what it showed."""
