// A listener under test, and what it hands over.
#ifndef PARLEY_LIB_TRANSPORT_TESTING_DOOR_H_
#define PARLEY_LIB_TRANSPORT_TESTING_DOOR_H_

#include <fcntl.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "lib/base/mutex.h"
#include "lib/transport/listener.h"
#include "lib/transport/testing/keys.h"
#include "lib/transport/testing/tcp.h"
#include "lib/transport/testing/tls_client.h"

namespace parley::transport {

// One peer that got in: the local end, blocking.
struct Handed {
  std::unique_ptr<TcpClient> local;
  std::shared_ptr<const Peer> peer;
  Application application;
};

class TestDoor {
 public:
  virtual ~TestDoor() = default;
  // "alice" and "bob" have keys. Both ways in, a clock that stands, one thread.
  void Start(Listener::Options options = {}) {
    keys_.Add("alice");
    keys_.Add("bob");
    const ServerCertificate certificate = MakeTestServerCertificate(absl::Now());
    if (options.address.empty()) options.address = "127.0.0.1:0";
    options.certificate_pem = certificate.pem;
    options.private_key_pem = certificate.key_pem.Clone();
    options.clock = &clock_;
    options.threads = 1;
    auto listener = Listener::Create(std::move(options), keys());
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
    listener_->Start([this](int fd, std::shared_ptr<const Peer> peer, Application application) {
      fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
      MutexLock lock(&mutex_);
      handed_.push_back({std::make_unique<TcpClient>(fd), std::move(peer), application});
      ++handed_count_;
      arrived_.NotifyAll();
    });
  }

  virtual KeySource* keys() { return &keys_; }
  const std::string& address() { return listener_->address(); }

  // Waits for the next peer that gets in.
  Handed Next() {
    MutexLock lock(&mutex_);
    while (handed_.empty()) arrived_.Wait(&mutex_);
    Handed next = std::move(handed_.front());
    handed_.pop_front();
    return next;
  }
  int handed_count() {
    MutexLock lock(&mutex_);
    return handed_count_;
  }

  // An honest client gets in and is answered: the listener serves.
  void ExpectServes() {
    TlsClient client(address(), TlsClient::Psk("bob", "bob"));
    ASSERT_TRUE(client.Handshake());
    const Handed handed = Next();
    EXPECT_EQ(handed.peer->key.subject, "bob");
    ASSERT_TRUE(client.Write("ping"));
    EXPECT_EQ(handed.local->Receive(), "ping");
    ASSERT_TRUE(handed.local->Send("pong"));
    EXPECT_EQ(client.Read(), "pong");
  }

  FakeClock clock_;
  FakeKeys keys_;
  Mutex mutex_;
  CondVar arrived_;
  std::deque<Handed> handed_ ABSL_GUARDED_BY(mutex_);
  int handed_count_ ABSL_GUARDED_BY(mutex_) = 0;
  // Last: its threads use the others.
  std::unique_ptr<Listener> listener_;
};

class DoorTest : public testing::Test, protected TestDoor {};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_TESTING_DOOR_H_
