// The manners of a command that carries out updates: it stops at a safe moment when it is asked to, and never waits for
// anybody to read what it prints.
#ifndef PARLEY_CLIENTS_CLI_AGENT_OUTPUT_H_
#define PARLEY_CLIENTS_CLI_AGENT_OUTPUT_H_

#include "clients/agent/stop.h"
#include "clients/cli/command.h"

namespace parley::cli {

// Prints in the background from now on: PrintLine and its like, the log and gRPC's messages, which go to standard error
// as sentences, or with --output json as the log's lines. Once a process, before its output matters to anybody's
// waiting.
void PrintInBackground(const Globals& globals);

// Ends the output of the process and returns `code`, or kFailure with a sentence for a success whose output could not
// be written. Where PrintInBackground was called, it waits for readers as long as they take something, and a few
// seconds more; without them, or after a signal to stop, it does not return but ends the process with `code`.
int FinishOutput(int code);

// What a terminal that is closed, or `kill -HUP`, does to a command: one that a person waits for is to stop as for
// SIGTERM; one that goes on for months does not care.
enum class OnHangup { kStop, kIgnore };

// Ends the agent at the next safe moment on SIGINT and SIGTERM, and on SIGHUP where it is said. A SIGHUP that is
// ignored already, as by nohup, stays so. One a process.
class StopOnSignal {
 public:
  explicit StopOnSignal(OnHangup on_hangup);
  ~StopOnSignal();
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;
  agent::Stop* stop() { return &stop_; }

 private:
  agent::Stop stop_;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_AGENT_OUTPUT_H_
