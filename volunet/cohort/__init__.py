"""A folder of scans through a model: every scan its row, and nothing done twice."""
