"""How fast tinynet is, measured beside its peers: ``python -m bench`` prints the table.

`nets.py` says what is computed, `peers/` how each framework computes it, `drive.py` how the
contenders take turns, `report.py` how figures become a table and a picture.
"""
