"""Engines run Programs. Importing this package imports none of them: see `engine.py`."""
