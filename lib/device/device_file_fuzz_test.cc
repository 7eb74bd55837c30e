// Device files of somebody who writes to the disk, and contents of one who knows the key.
#include <google/protobuf/stubs/logging.h>
#include <stdlib.h>

#include "absl/strings/match.h"
#include "lib/base/error.h"
#include "lib/device/contents.h"
#include "lib/device/seal.h"

namespace parley::device {
namespace {

void CheckFile(absl::string_view file) {
  const absl::StatusOr<KeyParameters> parameters = ReadKeyParameters(file);
  const absl::StatusOr<Secret> opened = OpenFile(Secret(kFileKeyBytes), file);
  if (!parameters.ok() && (opened.ok() || !absl::StartsWith(Reason(parameters.status()), "DEVICE_FILE_"))) abort();
  if (!opened.ok() && !absl::StartsWith(Reason(opened.status()), "DEVICE_FILE_")) abort();
}

void CheckContents(absl::string_view bytes) {
  const absl::StatusOr<Contents> contents = ParseContents(Secret::CopyOf(bytes));
  if (!contents.ok()) {
    if (Reason(contents.status()) != "DEVICE_FILE_DAMAGED") abort();
    return;
  }
  // What is read can be written, and is written the same way again.
  const Secret formatted = FormatContents(*contents);
  const absl::StatusOr<Contents> again = ParseContents(formatted);
  if (!again.ok() || !(FormatContents(*again) == formatted)) abort();
}

}  // namespace
}  // namespace parley::device

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // It would report every string that is not UTF-8.
  static const google::protobuf::LogSilencer silencer;
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  parley::device::CheckFile(input);
  parley::device::CheckContents(input);
  return 0;
}
