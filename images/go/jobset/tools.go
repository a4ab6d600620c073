//go:build tools

// Package tools names the programs that are built from this module's requirements.
package tools

import (
	_ "sigs.k8s.io/jobset"
)
