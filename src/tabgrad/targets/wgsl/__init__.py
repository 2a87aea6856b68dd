"""The WebGPU target: kernels as WGSL compute shaders, and a plan of dispatches for the players."""
