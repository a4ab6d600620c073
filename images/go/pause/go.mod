module rehearsal/images/pause

go 1.24.0
