//go:build tools

// Package tools names what runs beside Kubernetes, so that go.mod pins it.
package tools

import (
	_ "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"
	_ "github.com/coredns/coredns"
	_ "go.etcd.io/etcd/server/v3" // etcd
	_ "sigs.k8s.io/kwok/cmd/kwok"
	_ "sigs.k8s.io/metrics-server/cmd/metrics-server"
)
