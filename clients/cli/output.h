// Answers: as JSON in protobuf's own mapping, one object for a command or one a line for what goes on; as a table; or
// as a sentence for people.
//
// What prints a whole answer returns kSuccess, with which a command ends.
//
// Threads: free functions, which may be called from any thread; a JsonObject belongs to one.
#ifndef PARLEY_CLIENTS_CLI_OUTPUT_H_
#define PARLEY_CLIENTS_CLI_OUTPUT_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "clients/cli/command.h"
#include "clients/cli/terminal.h"
#include "google/protobuf/message.h"

namespace parley::cli {

// Prints the message with all its fields; 64-bit integers are strings, as the mapping has it.
ExitCode PrintJson(const google::protobuf::Message& message);
// Returns what PrintJson prints.
std::string ToJson(const google::protobuf::Message& message);
// Returns the time as RFC 3339 has it, in seconds of UTC; empty for the infinite future.
std::string JsonTime(absl::Time time);

// An object of strings and of values that are JSON already.
class JsonObject {
 public:
  JsonObject() = default;
  // Has the fields that PrintJson prints.
  explicit JsonObject(const google::protobuf::Message& message);
  JsonObject& Text(absl::string_view name, absl::string_view value);
  JsonObject& Number(absl::string_view name, int64_t value);
  JsonObject& Bool(absl::string_view name, bool value);
  JsonObject& Raw(absl::string_view name, absl::string_view json);
  // Returns the object's text.
  std::string Finish() const;
  ExitCode Print() const;

 private:
  std::string members_;
};

// Begins the object for something that happens while a command goes on.
JsonObject JsonEvent(absl::string_view name);

// Prints rows under a head, in columns as wide as their widest cell. The cells are made fit for a terminal.
ExitCode PrintTable(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows);

// Prints the parts, joined as by absl::StrCat, behind a check mark.
template <typename... Parts>
ExitCode PrintDone(const Parts&... parts) {
  PrintLine("  ", Green("✔"), " ", parts...);
  return kSuccess;
}

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_OUTPUT_H_
