#include "services/keyd/service/label_stream.h"

#include <utility>
#include <vector>

#include "services/keyd/domain/device_names.h"
#include "services/keyd/domain/store_layout.h"

namespace parley::keyd {
namespace {

using key::v1::WatchDeviceLabelsResponse;

// Few enough that a message stays far below gRPC's limit of 4 MiB, and a large organisation below the limit of messages
// that may wait in a stream.
constexpr size_t kBytesPerMessage = 500'000;
constexpr size_t kRecordsPerPage = 1000;

// Collects devices, and sends a message whenever it is large enough.
class Sender {
 public:
  explicit Sender(LabelStream::Pointer stream) : stream_(std::move(stream)) {}

  void Add(key::v1::DeviceLabels device) {
    bytes_ += device.ByteSizeLong();
    *message_.add_devices() = std::move(device);
    if (bytes_ >= kBytesPerMessage) Send(false);
  }
  void Send(bool caught_up) {
    message_.set_caught_up(caught_up);
    stream_->Send(std::exchange(message_, WatchDeviceLabelsResponse()));
    bytes_ = 0;
  }
  bool empty() const { return message_.devices().empty(); }

 private:
  const LabelStream::Pointer stream_;
  WatchDeviceLabelsResponse message_;
  size_t bytes_ = 0;
};

// Sends all that have labels, and returns the revision at which they were read.
absl::StatusOr<int64_t> SendState(store::Store* store, Sender* sender) {
  store::KeyRange range = store::KeyRange::Prefix(kDeviceNamePrefix);
  int64_t revision = 0;
  for (bool more = true; more;) {
    ASSIGN_OR_RETURN(const store::Page page, store->List(range, kRecordsPerPage, revision));
    revision = page.revision;
    for (const store::Entry& entry : page.entries) {
      ASSIGN_OR_RETURN(key::v1::DeviceLabels device, DeviceNames::ToMessage(entry.key, entry.value));
      if (!device.labels().empty()) sender->Add(std::move(device));
      range.begin = entry.key + '\0';
    }
    more = page.more;
  }
  sender->Send(true);
  return revision;
}

}  // namespace

absl::StatusOr<std::unique_ptr<store::Watch>> BeginLabels(store::Store* store, const LabelStream::Pointer& stream) {
  const auto sender = std::make_shared<Sender>(stream);
  ASSIGN_OR_RETURN(const int64_t revision, SendState(store, sender.get()));
  return store->WatchRange(store::KeyRange::Prefix(kDeviceNamePrefix), revision,
                           [sender, stream](absl::StatusOr<std::vector<store::Change>> changes, int64_t) {
                             if (!changes.ok()) return stream->End(changes.status());
                             for (const store::Change& change : *changes) {
                               auto device = DeviceNames::ToMessage(change.key, change.value);
                               if (!device.ok()) return stream->End(device.status());
                               sender->Add(*std::move(device));
                             }
                             if (!sender->empty()) sender->Send(true);
                           });
}

}  // namespace parley::keyd
