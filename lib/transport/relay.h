// One connection: a TLS session over TCP on one side, a local stream socket on the other, and the bytes between.
//
// After the handshake the owner attaches the local socket, and bytes flow both ways. Each direction reads only when
// what it read before has gone, so a reader that stalls stops the sender at the other end, and a connection holds at
// most one read meanwhile. A connection without pending bytes holds no buffer. An end in one direction is passed on,
// and the other direction goes on. A connection with a guard ends at the first breach that it finds: the peer is told
// by GOAWAY if the local end has left its frames whole, and no other connection is concerned.
//
// Threads: everything, and every call to the owner, in the thread of the loop that the relay is in.
#ifndef PARLEY_LIB_TRANSPORT_RELAY_H_
#define PARLEY_LIB_TRANSPORT_RELAY_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/fd.h"
#include "lib/transport/event_loop.h"
#include "lib/transport/frame_guard.h"
#include "lib/transport/tls_session.h"

namespace parley::transport {

struct RelayCounters {
  std::atomic<int64_t> bytes_in{0};
  std::atomic<int64_t> bytes_out{0};
};

class Relay : public std::enable_shared_from_this<Relay> {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // The handshake is done. Attach, Refuse, Close or LeaveLoop must follow before this returns.
    virtual void OnHandshakeDone() = 0;
    // Gets the first bytes that the peer has sent after the handshake. Returns false if the owner has closed the relay,
    // so that they are not passed on.
    virtual bool OnFirstBytes(absl::string_view bytes) { return true; }
    // The handshake failed for the cause in tls().failure(), or the peer left if that is kNone. The relay goes on only
    // to bring the alert across.
    virtual void OnHandshakeFailed() = 0;
    // The peer has broken TLS after the handshake, or refused what this side showed, for the cause in tls().failure().
    // The relay closes next.
    virtual void OnTlsFailed() {}
    // The peer has ended the connection, or was lost, while the local end was still open.
    virtual void OnPeerLeft() {}
    // The guard has found a breach, for which the relay now ends the connection.
    virtual void OnBreach(FrameGuard::Breach breach) {}
    // Both sockets are closed. This is the last call, and the owner may drop the relay.
    virtual void OnClosed() = 0;
  };

  // `loop`, `owner` and `counters` must outlive the relay.
  Relay(EventLoop* loop, Fd tcp_fd, std::unique_ptr<TlsSession> tls, Owner* owner, RelayCounters* counters);

  // Sets the socket's options and begins the handshake. The connection ends when the peer's machine has been silent for
  // `silence` (at least 5 seconds), whether bytes wait for its acknowledgement or nothing is to be said: the kernel
  // probes an idle connection after half of that time.
  void Start(absl::Duration silence);
  // Begins to relay. `guard`, if there is one, sees every byte before it is passed on.
  void Attach(Fd local_fd, std::unique_ptr<FrameGuard> guard = nullptr);
  // Takes the relay out of its loop, to go on in another one: JoinLoop there, and then Attach.
  void LeaveLoop();
  // Returns false if the relay has closed instead.
  bool JoinLoop(EventLoop* loop);
  // Sends these bytes to the peer and nothing more. No local socket is ever attached.
  void Refuse(absl::string_view bytes);
  // Closes both sockets now. The peer is told if the kernel takes the few bytes.
  void Close();

  TlsSession& tls() { return *tls_; }
  // Returns whether any byte came from the network.
  bool heard() const { return heard_; }

 private:
  // One of the two sockets.
  struct Side final : EventLoop::Watch {
    Side(Relay* relay, bool local) : relay(relay), local(local) {}
    void OnEvents(uint32_t events) override;
    // Reads once. Returns -1 for nothing now, and 0 for the end.
    ssize_t Read(char* to, size_t size);
    // Sends what was kept before, then `bytes`, and keeps what the kernel does not take. Returns false if the other end
    // is gone.
    bool Write(absl::string_view bytes);
    // A Unix socket becomes writable, and wakes whoever asked to know, each time that its other end reads: ask only
    // while bytes wait. For TCP this does nothing, because it tells only after a write was turned away.
    void AskWhenWritable(bool ask);

    Relay* const relay;
    const bool local;
    Fd fd;
    bool asked = false;
    bool readable = false;
    bool writable = true;
    // The kernel has said that the other end sends no more: read on until that shows.
    bool ending = false;
    // Neither direction works any more.
    bool gone = false;
    // Nothing more will be read.
    bool ended = false;
    // Bytes that wait until the socket can be written.
    std::string kept;
    // Once `kept` has gone, tell the other end that nothing follows.
    bool shut_after = false;
    bool shut = false;
  };

  enum class Phase { kHandshake, kRelaying, kLingering, kClosed };

  void OnReady();
  void StepHandshake();
  void Pump();
  bool PumpIn();
  bool PumpOut();
  void FromNetwork(absl::string_view input);
  // Ends the connection for the breach that the guard found: counts it, says goodbye, lingers.
  void EndFor(FrameGuard::Breach breach);
  // Reads the rest of the frame that gRPC is in the middle of sending, and encrypts it into `output`, so that another
  // frame may follow. Returns false when it is not there.
  bool FinishFrame(std::string* output);
  void SettleSide(Side* side);
  void FinishIfDone();
  // Sends the last words and TLS's end, then lingers.
  void Leave(std::string* output);
  // Stops relaying; sends what is kept and waits a little for the peer to close, so that no reset overtakes an alert.
  void Linger();
  void Discard();

  EventLoop* loop_;
  std::unique_ptr<TlsSession> tls_;
  Owner* const owner_;
  RelayCounters* const counters_;
  std::unique_ptr<FrameGuard> guard_;
  Side tcp_;
  Side local_;
  Phase phase_ = Phase::kHandshake;
  bool heard_ = false;
  bool first_bytes_came_ = false;
  bool pumping_ = false;
};

}  // namespace parley::transport

#endif  // PARLEY_LIB_TRANSPORT_RELAY_H_
