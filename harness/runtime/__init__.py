"""Starting, watching and stopping processes; waiting; clocks; events."""
