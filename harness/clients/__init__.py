"""Typed clients over HTTP; none of them imports the program it speaks to."""
