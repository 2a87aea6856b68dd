"""GLSL ES 3.00 for WebGL2: Programs as fragment shaders over textures."""
