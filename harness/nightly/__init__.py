"""A night: everything that takes too long for every change, one part after another, and what came of it."""
