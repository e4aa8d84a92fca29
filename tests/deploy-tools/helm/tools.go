//go:build tools

// Package tools pins the helm that the files of deploy/ are tested with.
package tools

import _ "helm.sh/helm/v4/cmd/helm"
