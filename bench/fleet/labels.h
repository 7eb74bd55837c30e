// The label by which a task finds the devices of the fleet.
#ifndef PARLEY_BENCH_FLEET_LABELS_H_
#define PARLEY_BENCH_FLEET_LABELS_H_

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace parley::bench {

inline constexpr char kLabel[] = "fleet";
inline constexpr char kLabelValue[] = "bench";

// The only place where a device is given its labels. Sets the field `labels` of the request, a map of strings, if its
// message has one: the device's own claim in WatchAssignmentsRequest, the operator's word in IssueCredentialRequest.
void GiveLabels(google::protobuf::Message* request);

}  // namespace parley::bench

#endif  // PARLEY_BENCH_FLEET_LABELS_H_
