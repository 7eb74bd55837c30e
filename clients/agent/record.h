// One protobuf message in a file, replaced atomically and checked when it is read.
//
// The file is SHA-256(message) ‖ message. A reader sees the old message or the new one, also after a crash; a
// damaged file is an error and never an empty message.
//
// Threads: not thread-safe for the same file.
#ifndef PARLEY_CLIENTS_AGENT_RECORD_H_
#define PARLEY_CLIENTS_AGENT_RECORD_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message_lite.h"

namespace parley::agent {

// Reads the message. Returns false if there is no file, STATE_DAMAGED if it is damaged, and the errors of
// lib/base/file.h.
absl::StatusOr<bool> ReadRecord(const std::string& path, google::protobuf::MessageLite* message);

// Writes the message with mode 0600, durably. Returns the errors of lib/base/file.h.
absl::Status WriteRecord(const std::string& path, const google::protobuf::MessageLite& message);

// Removes the file, durably, if there is one. Returns the errors of lib/base/file.h.
absl::Status RemoveRecord(const std::string& path);

// Removes what a process that was killed in WriteRecord left beside the file.
void RemoveRecordLitter(const std::string& path);

}  // namespace parley::agent

#endif  // PARLEY_CLIENTS_AGENT_RECORD_H_
