"""Benchmarks. README.md says what is measured and what came of it; `python -m bench` runs them."""
