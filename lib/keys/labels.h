// Says what labels and facts of devices may look like. A label is what an operator says of a machine, a fact what the
// machine says of itself.
//
// Threads: pure functions.
#ifndef PARLEY_LIB_KEYS_LABELS_H_
#define PARLEY_LIB_KEYS_LABELS_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/map.h"

namespace parley::keys {

using Labels = google::protobuf::Map<std::string, std::string>;

inline constexpr int kMaxLabels = 64;
// The limit for a name, and for a value.
inline constexpr size_t kMaxLabelBytes = 256;
// A selector's key that looks at a fact begins with this. No label's name does.
inline constexpr absl::string_view kFactPrefix = "fact:";
// key.v1.DeviceLabels.name begins with this; the subject of the device's credentials follows.
inline constexpr absl::string_view kDeviceLabelsPrefix = "deviceLabels/";

// Checks that there are at most 64, each with a name of 1 to 256 bytes and a value of at most 256 bytes. `what` names
// them in the sentence: "labels". Returns INVALID_ARGUMENT: TOO_MANY_LABELS, LABEL_MALFORMED.
absl::Status CheckSizes(const Labels& labels, absl::string_view what);
// Checks the sizes of a device's labels, and that none of them looks like a fact. Returns the errors of CheckSizes.
absl::Status CheckLabels(const Labels& labels);

// Returns whether both have the same names with the same values.
bool AreSame(const Labels& one, const Labels& other);

// Returns "role=web, site=berlin", in the order of the names; an empty text for none.
std::string ShowLabels(const Labels& labels);

}  // namespace parley::keys

#endif  // PARLEY_LIB_KEYS_LABELS_H_
