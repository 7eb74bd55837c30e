// The labels of devices as keyd tells them: a view in memory, which a service asks by the name of a device.
//
// The view is empty, and says so, until keyd has been heard once. While keyd is away the view keeps what it knows. Each
// time that the service connects again, the present state replaces all of it.
//
// Threads: all methods may be called from any thread. The observer is called on the thread that changes the view.
#ifndef PARLEY_LIB_KEYD_CLIENT_DEVICE_LABELS_H_
#define PARLEY_LIB_KEYD_CLIENT_DEVICE_LABELS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "lib/base/mutex.h"
#include "lib/keys/labels.h"

namespace parley::keyd_client {

class DeviceLabels {
 public:
  // Labels by the name of the device.
  using Devices = std::map<std::string, std::shared_ptr<const keys::Labels>, std::less<>>;
  // Called with the device whose labels have changed; an empty name means any device. Must not block.
  using OnChange = std::function<void(const std::string& device)>;

  // Returns the labels of a device, none if it is unknown; null while keyd has never been heard.
  std::shared_ptr<const keys::Labels> Find(absl::string_view device) const;

  // Takes the present state of all devices.
  void Replace(Devices devices);
  // Takes the labels of one device. Ignored before the first Replace, because the view would seem to be whole.
  void Set(const std::string& device, keys::Labels labels);

  // Calls `on_change` for each change from now on, one call at a time, until StopObserving, which waits for a call that
  // is under way. At most one observer.
  void Observe(OnChange on_change);
  void StopObserving() { Observe(nullptr); }

 private:
  void Notify(const std::string& device);

  mutable Mutex mutex_;
  bool heard_ ABSL_GUARDED_BY(mutex_) = false;
  Devices devices_ ABSL_GUARDED_BY(mutex_);
  // This lock is held while the observer is called.
  Mutex observer_mutex_;
  OnChange on_change_ ABSL_GUARDED_BY(observer_mutex_);
};

}  // namespace parley::keyd_client

#endif  // PARLEY_LIB_KEYD_CLIENT_DEVICE_LABELS_H_
