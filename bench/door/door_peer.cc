// Both sides of the measurements without OpenSSL.
//
//   door_peer keys FOLDER                        the certificates and the key that all peers use
//   door_peer server plain|copy|door FOLDER
//   door_peer client plain|copy|door|stunnel FOLDER ADDRESS [PUBLIC_ADDRESS]
//
// For stunnel, ADDRESS is the near end of the tunnel, and PUBLIC_ADDRESS where TLS-PSK is spoken.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <iostream>
#include <string>

#include "absl/time/clock.h"
#include "bench/door/copy_relay.h"
#include "bench/door/load.h"
#include "bench/door/raw_handshake.h"
#include "lib/base/encoding.h"
#include "lib/base/file.h"
#include "lib/crypto/certificate.h"
#include "lib/crypto/kdf.h"
#include "lib/transport/channel.h"
#include "lib/transport/grpc_door.h"
#include "lib/transport/grpc_poller.h"
#include "lib/transport/relay_in_callers.h"

namespace parley::bench {
namespace {

constexpr char kIdentity[] = "bench";

Secret Psk(const std::string& folder) {
  return Secret::Take(*HexDecode(ReadSecretFile(folder + "/psk", 64)->Expose()));
}

class OneKey final : public transport::KeySource {
 public:
  explicit OneKey(Secret root) : root_(std::move(root)) {}
  // Derives, as keyd's key source does, so that its cost is in the figures.
  absl::StatusOr<Key> Find(absl::string_view identity, Want) override {
    const Secret derived = crypto::Hkdf(root_, identity, 32);
    if (identity != kIdentity) return absl::NotFoundError("no such key");
    return Key{.info = {.key_id = "bench"}, .psk = root_.Clone()};
  }

 private:
  const Secret root_;
};

int MakeKeys(const std::string& folder) {
  const absl::Time now = absl::Now(), end = now + absl::Hours(24);
  const auto ca = crypto::EcKey::Generate(), server = crypto::EcKey::Generate(), client = crypto::EcKey::Generate();
  const std::string ca_pem = *crypto::MakeCaCertificate(ca, "bench", now, end);
  const std::string server_pem =
      *crypto::MakeServerCertificate(ca, ca_pem, server.PublicKey(), {"localhost", "127.0.0.1"}, now, end);
  const std::string client_pem = *crypto::MakeClientCertificate(client, kIdentity, now, end);
  const std::string psk = HexEncode(crypto::RandomBytes(32));
  const bool written =
      WriteFileAtomically(folder + "/ca.pem", ca_pem, 0600).ok() &&
      WriteFileAtomically(folder + "/server.pem", server_pem, 0600).ok() &&
      WriteFileAtomically(folder + "/client.pem", client_pem, 0600).ok() &&
      WriteSecretFile(folder + "/server.key", server.ToPem()).ok() &&
      WriteSecretFile(folder + "/client.key", client.ToPem()).ok() &&
      WriteSecretFile(folder + "/psk", Secret::CopyOf(psk)).ok() &&
      WriteSecretFile(folder + "/psk.stunnel", Secret::CopyOf(std::string(kIdentity) + ":" + psk + "\n")).ok();
  return written ? 0 : 1;
}

int ServePlain() {
  const auto service = MakeService();
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterCallbackGenericService(service.get());
  const auto server = builder.BuildAndStart();
  AwaitEnd("127.0.0.1:" + std::to_string(port));
  server->Shutdown(std::chrono::system_clock::now());
  return 0;
}

int ServeCopied() {
  transport::PollGrpcInLoop();
  const auto service = MakeService();
  grpc::ServerBuilder builder;
  const auto acceptor = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, grpc::InsecureServerCredentials());
  builder.RegisterCallbackGenericService(service.get());
  const auto server = builder.BuildAndStart();
  AwaitEnd(ListenCopied([&acceptor](Fd local) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
    parameters.fd = local.release();
    acceptor->HandleNewConnection(&parameters);
  }));
  server->Shutdown(std::chrono::system_clock::now());
  return 0;
}

int ServeDoor(const std::string& folder) {
  transport::PollGrpcInLoop();
  OneKey keys(Psk(folder));
  const auto service = MakeService();
  transport::Listener::Options options;
  options.address = "127.0.0.1:0";
  options.certificate_pem = *ReadFile(folder + "/server.pem", 1 << 16);
  options.private_key_pem = *ReadSecretFile(folder + "/server.key", 1 << 16);
  const auto door = *transport::GrpcDoor::Create(std::move(options), &keys);
  grpc::ServerBuilder builder;
  builder.RegisterCallbackGenericService(service.get());
  if (const auto status = door->Serve(&builder); !status.ok()) {
    std::cerr << status << std::endl;
    return 1;
  }
  AwaitEnd(door->listener().address());
  door->Shutdown(absl::Now());
  return 0;
}

std::shared_ptr<grpc::Channel> ConnectPlain(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

std::shared_ptr<grpc::Channel> ConnectDoor(const std::string& address, const std::string& folder) {
  std::shared_ptr<transport::Channel> channel =
      *transport::Channel::Create({.address = address, .identity = kIdentity, .psk = Psk(folder)});
  // The dialer lives as long as the channel that is handed out.
  return {channel->grpc().get(), [channel](grpc::Channel*) {}};
}

int Main(const std::vector<std::string>& arguments) {
  RaiseLimits();
  const auto is = [&](const char* role, const char* kind, size_t count) {
    return arguments.size() == count && arguments[0] == role && (kind == nullptr || arguments[1] == kind);
  };
  if (is("keys", nullptr, 2)) return MakeKeys(arguments[1]);
  if (is("server", "plain", 3)) return ServePlain();
  if (is("server", "copy", 3)) return ServeCopied();
  if (is("server", "door", 3)) return ServeDoor(arguments[2]);
  if (arguments.size() < 4 || arguments[0] != "client") {
    std::cerr << "usage: door_peer keys|server|client …" << std::endl;
    return 2;
  }
  const std::string &folder = arguments[2], &address = arguments[3];
  Reach reach;
  if (arguments[1] == "door") {
    transport::RelayInCallers();
    reach.connect = [&] { return ConnectDoor(address, folder); };
  } else if (arguments[1] == "copy") {
    reach.connect = [target = DialCopied(address)] { return ConnectPlain(target); };
  } else {
    reach.connect = [&] { return ConnectPlain(address); };
  }
  reach.handshake = arguments[1] == "plain" || arguments[1] == "copy"
                        ? PlainHandshake(address)
                        : PskHandshake(arguments.back(), kIdentity, std::string(Psk(folder).Expose()));
  RunClient(reach);
  return 0;
}

}  // namespace
}  // namespace parley::bench

int main(int argc, char** argv) { return parley::bench::Main(std::vector<std::string>(argv + 1, argv + argc)); }
