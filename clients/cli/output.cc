#include "clients/cli/output.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/json_util.h"
#include "lib/base/log.h"

namespace parley::cli {

std::string ToJson(const google::protobuf::Message& message) {
  std::string json;
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = false;
  // A program that reads this should not have to know what the default is.
  options.always_print_primitive_fields = true;
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);
  return json;
}

ExitCode PrintJson(const google::protobuf::Message& message) {
  PrintLine(ToJson(message));
  return kSuccess;
}

std::string JsonTime(absl::Time time) {
  return time == absl::InfiniteFuture() ? "" : absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone());
}

JsonObject::JsonObject(const google::protobuf::Message& message) : members_(ToJson(message)) {
  members_ = members_.substr(1, members_.size() - 2);
}

JsonObject& JsonObject::Text(absl::string_view name, absl::string_view value) { return Raw(name, JsonString(value)); }

JsonObject& JsonObject::Number(absl::string_view name, int64_t value) { return Raw(name, absl::StrCat(value)); }

JsonObject& JsonObject::Bool(absl::string_view name, bool value) { return Raw(name, value ? "true" : "false"); }

JsonObject& JsonObject::Raw(absl::string_view name, absl::string_view json) {
  absl::StrAppend(&members_, members_.empty() ? "" : ",", JsonString(name), ":", json);
  return *this;
}

std::string JsonObject::Finish() const { return absl::StrCat("{", members_, "}"); }

ExitCode JsonObject::Print() const {
  PrintLine(Finish());
  return kSuccess;
}

JsonObject JsonEvent(absl::string_view name) { return JsonObject().Text("event", name); }

ExitCode PrintTable(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const std::string& cell : head) widths.push_back(ColumnsOf(cell));
  for (const std::vector<std::string>& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], ColumnsOf(Printable(row[i])));
  }
  const auto print = [&](const std::vector<std::string>& row, bool is_head) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string cell = Printable(row[i]);
      const size_t padding = i + 1 < row.size() ? widths[i] - ColumnsOf(cell) + 2 : 0;
      absl::StrAppend(&line, cell, std::string(padding, ' '));
    }
    PrintLine(is_head ? Dim(line) : line);
  };
  print(head, true);
  for (const std::vector<std::string>& row : rows) print(row, false);
  return kSuccess;
}

}  // namespace parley::cli
