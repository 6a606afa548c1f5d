//go:build tools

// Package tools names the volume provisioner, so that go.mod pins it. What runs beside it imports logrus in another
// spelling, and Go builds no two spellings at once.
package tools

import _ "github.com/rancher/local-path-provisioner"
