"""From graphs to Programs, in pure Python: no device, no engine, no file."""
