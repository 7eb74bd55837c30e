module parley/tools/peers

go 1.19

require (
	github.com/fullstorydev/grpcurl v1.8.8
	github.com/golang/protobuf v1.5.4
	github.com/jhump/protoreflect v1.15.6
	golang.org/x/net v0.27.0
	golang.org/x/oauth2 v0.21.0
	golang.org/x/sys v0.22.0
	golang.org/x/text v0.16.0
	google.golang.org/grpc v1.64.1
	google.golang.org/protobuf v1.34.2
)
