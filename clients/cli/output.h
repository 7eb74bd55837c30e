// Answers as JSON: one object for a command, one object a line for what goes on; in protobuf's own JSON mapping.
#ifndef PARLEY_CLIENTS_CLI_OUTPUT_H_
#define PARLEY_CLIENTS_CLI_OUTPUT_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace parley::cli {

// Prints the message with all its fields; 64-bit integers are strings, as the mapping has it.
void PrintJson(const google::protobuf::Message& message);
std::string ToJson(const google::protobuf::Message& message);

// An object of strings and of values that are JSON already.
class JsonObject {
 public:
  // As PrintJson would print it, with more behind its fields.
  static JsonObject Of(const google::protobuf::Message& message);
  JsonObject() = default;
  JsonObject& Text(absl::string_view name, absl::string_view value);
  JsonObject& Number(absl::string_view name, int64_t value);
  JsonObject& Raw(absl::string_view name, absl::string_view json);
  std::string Finish() const;
  void Print() const;

 private:
  std::string members_;
};

// Rows under a head, in columns as wide as their widest cell.
void PrintTable(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows);

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_OUTPUT_H_
