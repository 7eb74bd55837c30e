// The Go that `tests/cluster/cluster build` uses, because Debian 12's is too old for Kubernetes.
module parley/tools/peers/toolchain

go 1.19

require golang.org/toolchain v0.0.1-go1.26.8.linux-amd64
