#include "lib/base/secret.h"

#include <string.h>

#include <utility>

namespace parley {

void WipeMemory(void* memory, size_t size) {
  if (size > 0) explicit_bzero(memory, size);
}

void WipeString(std::string* text) {
  text->resize(text->capacity());
  WipeMemory(text->data(), text->size());
  text->clear();
}

Secret::Secret(size_t size) : bytes_(size > 0 ? new uint8_t[size]() : nullptr), size_(size) {}

Secret Secret::CopyOf(absl::string_view bytes) {
  Secret secret(bytes.size());
  if (!bytes.empty()) memcpy(secret.bytes_.get(), bytes.data(), bytes.size());
  return secret;
}

Secret Secret::Take(std::string&& bytes) {
  Secret secret = CopyOf(bytes);
  WipeString(&bytes);
  return secret;
}

Secret::Secret(Secret&& other) noexcept : bytes_(std::move(other.bytes_)), size_(std::exchange(other.size_, 0)) {}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    Wipe();
    bytes_ = std::move(other.bytes_);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Secret::~Secret() { Wipe(); }

void Secret::Wipe() {
  if (bytes_ != nullptr) WipeMemory(bytes_.get(), size_);
}

bool operator==(const Secret& a, const Secret& b) {
  if (a.size_ != b.size_) return false;
  uint8_t difference = 0;
  for (size_t i = 0; i < a.size_; ++i) difference |= a.bytes_[i] ^ b.bytes_[i];
  return difference == 0;
}

}  // namespace parley
