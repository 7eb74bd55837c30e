// What labels and facts of devices may look like. A label is what an operator says of a machine, a fact what the
// machine says of itself. Pure.
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
// What a selector's key begins with that looks at a fact. No label's name does.
inline constexpr absl::string_view kFactPrefix = "fact:";
// What key.v1.DeviceLabels.name begins with; the subject of the device's credentials follows.
inline constexpr absl::string_view kDeviceLabelsPrefix = "deviceLabels/";

// Checks that there are at most 64, each with a name of 1 to 256 bytes and a value of at most 256 bytes. `what` names
// them in the sentence: "labels". INVALID_ARGUMENT: TOO_MANY_LABELS, LABEL_MALFORMED.
absl::Status CheckSizes(const Labels& labels, absl::string_view what);
// Checks the labels of a device: as CheckSizes, and none of them may look like a fact. Returns the same errors.
absl::Status CheckLabels(const Labels& labels);

// Whether both have the same names with the same values.
bool AreSame(const Labels& one, const Labels& other);

// Returns "role=web, site=berlin", in the order of the names; an empty text for none.
std::string ShowLabels(const Labels& labels);

}  // namespace parley::keys

#endif  // PARLEY_LIB_KEYS_LABELS_H_
