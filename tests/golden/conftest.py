"""What makes the kept answers needs packages that the tests do without."""

collect_ignore = ["make_nnunet.py"]
