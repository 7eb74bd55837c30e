#include "lib/keyd_client/device_labels.h"

#include <algorithm>
#include <utility>

namespace parley::keyd_client {
namespace {

bool AreSame(const DeviceLabels::Devices& one, const DeviceLabels::Devices& other) {
  return std::equal(one.begin(), one.end(), other.begin(), other.end(), [](const auto& a, const auto& b) {
    return a.first == b.first && keys::AreSame(*a.second, *b.second);
  });
}

}  // namespace

std::shared_ptr<const keys::Labels> DeviceLabels::Find(absl::string_view device) const {
  static const auto* const none = new std::shared_ptr<const keys::Labels>(std::make_shared<keys::Labels>());
  MutexLock lock(&mutex_);
  if (!heard_) return nullptr;
  const auto found = devices_.find(device);
  return found == devices_.end() ? *none : found->second;
}

void DeviceLabels::Replace(Devices devices) {
  {
    MutexLock lock(&mutex_);
    if (std::exchange(heard_, true) && AreSame(devices_, devices)) return;
    devices_ = std::move(devices);
  }
  Notify("");
}

void DeviceLabels::Set(const std::string& device, keys::Labels labels) {
  {
    MutexLock lock(&mutex_);
    if (!heard_) return;
    const auto found = devices_.find(device);
    if (found == devices_.end() ? labels.empty() : keys::AreSame(*found->second, labels)) return;
    if (labels.empty()) {
      devices_.erase(found);
    } else {
      devices_[device] = std::make_shared<const keys::Labels>(std::move(labels));
    }
  }
  Notify(device);
}

void DeviceLabels::Observe(OnChange on_change) {
  MutexLock lock(&observer_mutex_);
  on_change_ = std::move(on_change);
}

void DeviceLabels::Notify(const std::string& device) {
  MutexLock lock(&observer_mutex_);
  if (on_change_) on_change_(device);
}

}  // namespace parley::keyd_client
