"""Data for training: arrays in memory, their order and their batches."""
