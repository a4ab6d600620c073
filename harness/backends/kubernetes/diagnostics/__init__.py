"""What an on-call engineer asks for when a run in a cluster fails: collected, masked, and read for its first cause."""
