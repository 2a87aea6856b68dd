"""The rules of simplification by topic; which apply to which primitive is listed in `simplify`.

A rule takes a node whose sources are simplified already and returns an equal node, or None where
it does not apply. It looks at the node and its sources, no further down than it has to.
"""
