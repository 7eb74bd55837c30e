// Which errors of a server, or of the way to it, end a client, and how long to wait for all the others.
//
// Only the reasons that are named in faults.cc end a client. Every other error passes, whatever its code is, because a
// client that has ended by mistake stays away until a person finds it.
//
// Threads: the functions may be called from any thread; Retry is not thread-safe.
#ifndef PARLEY_CLIENTS_AGENT_FAULTS_H_
#define PARLEY_CLIENTS_AGENT_FAULTS_H_

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "clients/agent/boot_clock.h"
#include "clients/agent/options.h"
#include "grpcpp/support/status.h"
#include "lib/base/backoff.h"
#include "lib/transport/channel.h"

namespace parley::agent {

// Returns the error of a call: the server's if that has a reason, CONNECTION_TIMEOUT if the call ran out of its time
// over a connection that stands, and that of the dialer otherwise. Returns OK for OK.
absl::Status Explain(const transport::Channel& channel, const grpc::Status& status);

enum class Fault {
  // Another connection may come out otherwise.
  kPasses,
  // The server refuses the key, and does not say why. It does so while it starts, too.
  kKey,
  // The peer is not the server that the key is for, but e.g. the login page of a hotel's network.
  kStranger,
  // Another process uses this client's key.
  kTwice,
  // The server does not know this client any more, e.g. because it was restored from a backup.
  kForgotten,
  // No waiting mends it.
  kFinal,
};
// Returns what an error means for the client.
Fault FaultOf(const absl::Status& status);

// Decides how often, and for how long, a client tries to reach the server.
class Retry {
 public:
  // A patient client never gives up because a server is away, refuses the key or is another one than it was. `now`
  // stands for SteadyTime.
  Retry(const Options& options, bool patient, absl::Duration (*now)() = &SteadyTime);

  // Sets the time to wait before the next try. With `patient` only this call is more patient: it gives up neither for
  // the time nor for the number of errors. Returns `error` when trying again is of no use: after a final fault, and
  // unless the client is patient when the key was refused thrice, the server was not reached within connect_timeout, it
  // answered more than ten times with an error, or it is a stranger.
  absl::Status Next(const absl::Status& error, absl::Duration* wait, bool patient = false);
  // Records that a try begins. The first one begins the time in which the server has to be reached.
  void Begin();
  // Records that the server has answered.
  void Reached();
  // Records that the server has proved to be there; it is waited for from now on.
  void Met() { met_ = true; }
  // Records that something has really moved, so that the next failure counts as the first.
  void Progress();
  // Returns how long a try may take: what is left of connect_timeout while the server was never reached.
  absl::Duration left() const;
  bool reached() const { return reached_; }
  bool met() const { return met_ || reached_; }
  // Returns whether the key has been refused so often that it is hardly because the server is starting.
  bool refused_for_good() const;
  // Records that there is another key now.
  void KeyChanged() { refused_ = 0; }

 private:
  bool Hopeless(const absl::Status& error, Fault fault, bool patient);

  const bool patient_;
  const absl::Duration limit_;
  absl::Duration (*const now_)();
  // When the pause before the next try should be over, and how long a try may take.
  absl::Duration due_ = absl::InfiniteDuration();
  absl::Duration most_ = absl::InfiniteDuration();
  absl::Duration start_ = -absl::InfiniteDuration();
  absl::Duration begun_;
  Backoff backoff_;
  Backoff twice_;
  bool reached_ = false;
  bool met_ = false;
  int refused_ = 0;
  int answered_ = 0;
};

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_FAULTS_H_
