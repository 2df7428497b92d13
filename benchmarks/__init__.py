"""What the README's numbers come from: ``python -m benchmarks.<name> --out result.json``, ``--quick`` to try it."""
