"""The embedded world: real upstream programs as child processes of this one, without Docker and without Kubernetes."""
