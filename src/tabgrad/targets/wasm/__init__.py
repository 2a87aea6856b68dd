"""The WebAssembly target: encoder, typed builder, math library, register-tiled microkernel."""
