"""Situations in, decisions out."""
