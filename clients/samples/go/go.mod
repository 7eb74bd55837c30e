module example.com/create-task

go 1.19

require (
	google.golang.org/grpc v1.64.1
	parley v0.0.0
)

require (
	golang.org/x/net v0.27.0 // indirect
	golang.org/x/sys v0.22.0 // indirect
	golang.org/x/text v0.16.0 // indirect
	google.golang.org/genproto/googleapis/api v0.0.0-20240318140521-94a12d6c2237 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20240318140521-94a12d6c2237 // indirect
	google.golang.org/protobuf v1.34.2 // indirect
)

// The archive of stubs, unpacked here (bazel build //clients/stubs:go).
replace parley => ./parley
