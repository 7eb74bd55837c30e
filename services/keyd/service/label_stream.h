// The stream behind KeyService.WatchDeviceLabels: the labels of all devices, then each change.
#ifndef PARLEY_SERVICES_KEYD_SERVICE_LABEL_STREAM_H_
#define PARLEY_SERVICES_KEYD_SERVICE_LABEL_STREAM_H_

#include <memory>

#include "absl/status/statusor.h"
#include "lib/store/store.h"
#include "parley/key/v1/key_service.pb.h"
#include "services/keyd/service/watch_stream.h"

namespace parley::keyd {

using LabelStream = WatchStream<key::v1::WatchDeviceLabelsResponse>;

// Sends the present state and watches the store from there on. `store` must outlive the watch. Returns the store's
// errors, or DATA_LOSS (STORE_DAMAGED) for a record that cannot be read.
absl::StatusOr<std::unique_ptr<store::Watch>> BeginLabels(store::Store* store, const LabelStream::Pointer& stream);

}  // namespace parley::keyd

#endif  // PARLEY_SERVICES_KEYD_SERVICE_LABEL_STREAM_H_
