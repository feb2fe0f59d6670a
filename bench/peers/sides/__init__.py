"""The adapters, one module for each contender.

A module may import its contender and the standard library only.
"""
