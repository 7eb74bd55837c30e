// The manners of a command that carries out updates: it stops at a safe moment when it is asked to, and never waits for
// anybody to read what it prints.
//
// Threads: the main thread alone.
#ifndef PARLEY_CLIENTS_CLI_AGENT_OUTPUT_H_
#define PARLEY_CLIENTS_CLI_AGENT_OUTPUT_H_

#include "clients/agent/cancellation.h"
#include "clients/cli/command.h"

namespace parley::cli {

// Prints in the background from now on: what PrintLine and its like print, the log, and gRPC's messages. The latter two
// go to standard error as sentences, or with --output json as the log's lines. Further calls do nothing.
void PrintInBackground(const Globals& globals);

// Ends the output of the process. Returns `code`, or kFailure, with a sentence, for a success whose output could not be
// written. After PrintInBackground it waits for readers for as long as they take something and five seconds more, or
// much less after a signal to stop; then it ends the process with `code`.
int FinishOutput(int code);

// What SIGHUP, which comes when the terminal is closed, does to a command: one that a person waits for stops as it does
// for SIGTERM, and one that goes on for months ignores it.
enum class OnHangup { kStop, kIgnore };

// Ends the agent at the next safe moment on SIGINT, SIGQUIT and SIGTERM, and on SIGHUP with OnHangup::kStop. A SIGHUP
// that is ignored already, as under nohup, stays ignored. From then on no output to a terminal stops the process
// (SIGTTOU). There is at most one at a time.
class CancelOnSignal {
 public:
  explicit CancelOnSignal(OnHangup on_hangup);
  ~CancelOnSignal();
  CancelOnSignal(const CancelOnSignal&) = delete;
  CancelOnSignal& operator=(const CancelOnSignal&) = delete;
  agent::Cancellation* cancellation() { return &cancellation_; }

 private:
  agent::Cancellation cancellation_;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_AGENT_OUTPUT_H_
