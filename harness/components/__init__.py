"""One file a component: a frozen recipe of how to start it, plus what runs inside it when it is ours."""
