// Which errors of a server, or of the way to it, end a client, and how long to wait for all the others.
//
// Only the reasons that are named in faults.cc end a client. Every other error passes, whatever its code is, because a
// client that has ended by mistake stays away until a person finds it.
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

// Returns what the channel explains, and CONNECTION_TIMEOUT for a call that ran out of its time over a connection that
// stands.
absl::Status Explain(const transport::Channel& channel, const grpc::Status& status);

enum class Fault {
  // Worth another connection.
  kPasses,
  // The server refuses the key, and does not say why. It does so while it starts, too.
  kKey,
  // What answers is not the server that the key is for, e.g. the login page of a hotel's network.
  kStranger,
  // Another process speaks with this client's key.
  kTwice,
  // The server does not know this client any more, e.g. because it was restored from a backup.
  kForgotten,
  kFinal,
};
Fault FaultOf(const absl::Status& status);

// How often, and for how long, to try to reach the server. Not thread-safe.
class Retry {
 public:
  // A patient one never gives up because a server is away, refuses the key or is another one than it was. `now` is as
  // SteadyTime.
  Retry(const Options& options, bool patient, absl::Duration (*now)() = &SteadyTime);

  // Returns OK and the time to wait before the next try. Returns the error when trying again is of no use: a final
  // fault; and, unless it is patient, a key that was refused thrice, a server that was not reached within
  // connect_timeout, one that answered ten times with an error, or a stranger.
  // `patient`: it does not give up this time.
  absl::Status Next(const absl::Status& error, absl::Duration* wait, bool patient = false);
  // A try begins; the first one begins the time in which the server has to be reached.
  void Begin();
  // The server has answered.
  void Reached();
  // It has proved at least that it is there, and is waited for from now on.
  void Met() { met_ = true; }
  // Something has really moved, so that the next failure is the first.
  void Progress();
  // How long a try may take: what is left of connect_timeout while the server was never reached.
  absl::Duration left() const;
  bool reached() const { return reached_; }
  bool met() const { return met_ || reached_; }
  // The key has been refused so often that it is hardly for a server that starts.
  bool refused_for_good() const;
  // There is another key now.
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
