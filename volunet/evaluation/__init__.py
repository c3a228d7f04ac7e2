"""How good masks are: overlap, surfaces in mm, and intervals over cases."""
