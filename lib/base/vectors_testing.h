// Reads tests/vectors/*.json, for tests.
#ifndef PARLEY_LIB_BASE_VECTORS_TESTING_H_
#define PARLEY_LIB_BASE_VECTORS_TESTING_H_

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "lib/base/encoding.h"
#include "lib/base/file.h"
#include "lib/base/secret.h"

namespace parley {

// An object of such a file. A field that is asked for and not there ends the test.
class Vector {
 public:
  // All of a file.
  static Vector Read(const char* name) {
    google::protobuf::Struct all;
    const std::string text = ReadFile(absl::StrCat("tests/vectors/", name), 1 << 20).value();
    EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(text, &all).ok());
    return Vector(std::move(all));
  }

  bool Has(const char* name) const { return fields_.fields().count(name) > 0; }
  std::string Text(const char* name) const { return At(name).string_value(); }
  // Written as hex.
  std::string Bytes(const char* name) const { return HexDecode(Text(name)).value(); }
  Secret SecretBytes(const char* name) const { return Secret::CopyOf(Bytes(name)); }
  bool Is(const char* name) const { return At(name).bool_value(); }
  int64_t Number(const char* name) const { return static_cast<int64_t>(At(name).number_value()); }
  absl::Time Time(const char* name) const { return absl::FromUnixSeconds(Number(name)); }
  Vector Object(const char* name) const { return Vector(At(name).struct_value()); }
  // Returns objects, at least one.
  std::vector<Vector> List(const char* name) const {
    std::vector<Vector> objects;
    for (const auto& value : At(name).list_value().values()) objects.push_back(Vector(value.struct_value()));
    EXPECT_FALSE(objects.empty()) << name;
    return objects;
  }
  std::vector<std::string> Texts(const char* name) const {
    std::vector<std::string> texts;
    for (const auto& value : At(name).list_value().values()) texts.push_back(value.string_value());
    return texts;
  }

 private:
  explicit Vector(google::protobuf::Struct fields) : fields_(std::move(fields)) {}
  const google::protobuf::Value& At(const char* name) const { return fields_.fields().at(name); }

  google::protobuf::Struct fields_;
};

}  // namespace parley

#endif  // PARLEY_LIB_BASE_VECTORS_TESTING_H_
