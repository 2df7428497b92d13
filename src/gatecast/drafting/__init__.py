"""A source recipe drafted from a file's first rows: ``gatecast new``."""
