// Both sides of gRPC's own mutual TLS, the yardstick. A program of its own, as it links OpenSSL.
//
//   mtls_peer server FOLDER
//   mtls_peer client FOLDER ADDRESS
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "bench/door/load.h"
#include "bench/door/raw_handshake.h"

namespace parley::bench {
namespace {

std::string Read(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

int Serve(const std::string& folder) {
  const auto service = MakeService();
  grpc::SslServerCredentialsOptions options(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  // The client's certificate is its own root, as Parley's are.
  options.pem_root_certs = Read(folder + "/client.pem");
  options.pem_key_cert_pairs.push_back({Read(folder + "/server.key"), Read(folder + "/server.pem")});
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(options), &port);
  builder.RegisterCallbackGenericService(service.get());
  const auto server = builder.BuildAndStart();
  AwaitEnd("127.0.0.1:" + std::to_string(port));
  server->Shutdown(std::chrono::system_clock::now());
  return 0;
}

std::shared_ptr<grpc::Channel> Connect(const std::string& folder, const std::string& address) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = Read(folder + "/ca.pem");
  options.pem_private_key = Read(folder + "/client.key");
  options.pem_cert_chain = Read(folder + "/client.pem");
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(options), arguments);
}

int Main(const std::vector<std::string>& arguments) {
  RaiseLimits();
  if (arguments.size() == 2 && arguments[0] == "server") return Serve(arguments[1]);
  if (arguments.size() != 3 || arguments[0] != "client") {
    std::cerr << "usage: mtls_peer server|client …" << std::endl;
    return 2;
  }
  Reach reach;
  reach.connect = [&] { return Connect(arguments[1], arguments[2]); };
  reach.handshake = CertificateHandshake(arguments[2], arguments[1]);
  RunClient(reach);
  return 0;
}

}  // namespace
}  // namespace parley::bench

int main(int argc, char** argv) { return parley::bench::Main(std::vector<std::string>(argv + 1, argv + argc)); }
