"""Small files, each of one kind of mess. `python -m tests.messy` writes them anew."""
