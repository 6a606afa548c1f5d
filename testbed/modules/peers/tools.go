//go:build tools

// Package peers pins what Aegis is measured beside.
package peers

import _ "github.com/argoproj/argo-rollouts/cmd/rollouts-controller"
