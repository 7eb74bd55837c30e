//go:build tools

// Package peers pins the Go programs that the interop tests talk to. tools/install builds them.
package peers

import _ "github.com/fullstorydev/grpcurl/cmd/grpcurl"
