"""The record of a run, and what is made from it: run.json, junit.xml and one self-contained page."""
