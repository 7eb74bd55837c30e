#include "clients/cli/output.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "clients/cli/terminal.h"
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

void PrintJson(const google::protobuf::Message& message) { PrintLine(ToJson(message)); }

JsonObject JsonObject::Of(const google::protobuf::Message& message) {
  const std::string json = ToJson(message);
  JsonObject object;
  object.members_ = json.substr(1, json.size() - 2);
  return object;
}

JsonObject& JsonObject::Text(absl::string_view name, absl::string_view value) { return Raw(name, JsonString(value)); }

JsonObject& JsonObject::Number(absl::string_view name, int64_t value) { return Raw(name, absl::StrCat(value)); }

JsonObject& JsonObject::Raw(absl::string_view name, absl::string_view json) {
  absl::StrAppend(&members_, members_.empty() ? "" : ",", JsonString(name), ":", json);
  return *this;
}

std::string JsonObject::Finish() const { return absl::StrCat("{", members_, "}"); }
void JsonObject::Print() const { PrintLine(Finish()); }

void PrintTable(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows) {
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
}

}  // namespace parley::cli
