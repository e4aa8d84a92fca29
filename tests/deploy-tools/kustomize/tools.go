//go:build tools

// Package tools pins the kustomize that the files of deploy/ are tested with.
package tools

import _ "sigs.k8s.io/kustomize/kustomize/v5"
