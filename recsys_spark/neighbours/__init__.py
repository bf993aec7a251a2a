"""Fitting of neighbour models: sparse matrices of item-item or user-user weights."""
