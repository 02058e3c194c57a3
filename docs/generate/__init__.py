"""The pages that are made from the code, its docstrings and its results."""
