//go:build tools

// Package tools names the programs that are built from this module's requirements.
package tools

import (
	_ "github.com/kubeflow/trainer/v2/cmd/trainer-controller-manager"
)
