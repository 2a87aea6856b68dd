"""What the shader targets share: typed expressions as text, scalar functions, kernel expressions.

A `Dialect` spells a language; everything else here is written once for all of them.
"""
