"""`python -m recipes sweep`: adapters compared over learning rates and seeds, in cells that any process may work on."""
