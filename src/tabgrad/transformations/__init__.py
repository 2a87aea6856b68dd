"""Functions of functions: gradients, forward mode, Jacobians, vmap, custom gradients, checkpoints.

Each runs the given function once and transforms the graph it built (`tabgrad.ir`); the public
names are at the top level of the package.
"""
