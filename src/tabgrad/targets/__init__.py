"""Targets: each sub-package turns kernels into one machine's code and runs nothing."""
