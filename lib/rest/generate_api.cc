// At build time: writes what rest_api.bzl promises.
//   generate_api DESCRIPTOR_SET OUT_STEM INCLUDE_STEM NAMESPACE TITLE SERVICE…
#include <stdio.h>

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "google/protobuf/descriptor.pb.h"
#include "lib/base/error.h"
#include "lib/rest/open_api.h"

namespace parley::rest {
namespace {

// Compilers end a literal at 64 KiB, the standard lets them.
constexpr size_t kLiteralBytes = 16 * 1024;

struct Arguments {
  std::string descriptors, out, include, space, title;
  std::vector<std::string> services;
};

std::string Literal(absl::string_view text) {
  std::string literal;
  for (; !text.empty(); text.remove_prefix(std::min(kLiteralBytes, text.size()))) {
    absl::StrAppend(&literal, "\n    R\"parley(", text.substr(0, kLiteralBytes), ")parley\"");
  }
  return literal;
}

void Write(const std::string& path, const std::string& content) { std::ofstream(path, std::ios::binary) << content; }

absl::Status Generate(const Arguments& arguments) {
  std::ifstream file(arguments.descriptors, std::ios::binary);
  google::protobuf::FileDescriptorSet set;
  google::protobuf::DescriptorPool pool;
  if (!set.ParseFromIstream(&file)) return absl::InvalidArgumentError("the descriptor set cannot be read");
  for (const auto& each : set.file()) {
    if (pool.BuildFile(each) == nullptr) return absl::InvalidArgumentError(each.name());
  }
  ASSIGN_OR_RETURN(const Routes routes, Routes::Of(arguments.services, &pool));
  const std::string document = OpenApi(routes, arguments.title);
  Write(arguments.out + ".json", document);
  const std::string guard =
      absl::StrCat("PARLEY_", absl::StrReplaceAll(arguments.space, {{"::", "_"}}), "_REST_API_H_");
  Write(arguments.out + ".h",
        absl::StrCat("#ifndef ", guard, "\n#define ", guard, "\n\n#include \"lib/rest/server.h\"\n\nnamespace ",
                     arguments.space, " {\n\nrest::Server::Options RestApi();\n\n}\n\n#endif\n"));
  Write(arguments.out + ".cc",
        absl::StrCat("#include \"", arguments.include, ".h\"\n\nnamespace ", arguments.space,
                     " {\n\nrest::Server::Options RestApi() {\n  static constexpr char kDocument[] =",
                     Literal(document), ";\n  rest::Server::Options options;\n  options.services = {\"",
                     absl::StrJoin(arguments.services, "\", \""),
                     "\"};\n  options.open_api = absl::string_view(kDocument, sizeof(kDocument) - 1);\n"
                     "  return options;\n}\n\n}\n"));
  return absl::OkStatus();
}

}  // namespace
}  // namespace parley::rest

int main(int argc, char** argv) {
  if (argc < 7) {
    fprintf(stderr, "generate_api DESCRIPTOR_SET OUT_STEM INCLUDE_STEM NAMESPACE TITLE SERVICE...\n");
    return 2;
  }
  const absl::Status status = parley::rest::Generate(
      {argv[1], argv[2], argv[3], argv[4], argv[5], std::vector<std::string>(argv + 6, argv + argc)});
  if (!status.ok()) fprintf(stderr, "generate_api: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
