//go:build tools

// Package tools names the programs that are built from this module's requirements.
package tools

import (
	_ "github.com/kserve/kserve/cmd/agent"
	_ "github.com/kserve/kserve/cmd/manager"
	_ "github.com/kserve/kserve/cmd/router"
)
