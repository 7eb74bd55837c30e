// Bytes that must not be seen: they are wiped when they go, never printed, and compared in constant time.
//
// Guarantees: the memory is zeroed before it is freed or overwritten by a move; there is no conversion to a string and
// no stream operator, so a log line cannot hold a secret; a comparison takes the same time wherever the bytes differ.
// Pages are not locked against swap: deploy/ and the services disable core dumps, and swap is the host's. The bytes
// come out through Expose() alone, so that a search for that word finds every exposure.
//
// Threads: const methods may be called from several threads at once; the others need a lock of the caller.
#ifndef PARLEY_LIB_BASE_SECRET_H_
#define PARLEY_LIB_BASE_SECRET_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace parley {

class Secret {
 public:
  Secret() = default;
  // Makes `size` zero bytes, to be filled through mutable_bytes().
  explicit Secret(size_t size);
  static Secret CopyOf(absl::string_view bytes);
  // Copies the string and then wipes it, for bytes that a library hands over as a string.
  static Secret Take(std::string&& bytes);

  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret();

  // Copies the secret. A copy is a decision, so it has a name.
  Secret Clone() const { return CopyOf(Expose()); }

  absl::string_view Expose() const { return absl::string_view(reinterpret_cast<const char*>(bytes_.get()), size_); }
  uint8_t* mutable_bytes() { return bytes_.get(); }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  friend bool operator==(const Secret& a, const Secret& b);

 private:
  void Wipe();

  std::unique_ptr<uint8_t[]> bytes_;
  size_t size_ = 0;
};

// Zeroes memory in a way that the compiler keeps.
void WipeMemory(void* memory, size_t size);
// Zeroes a string's bytes and its spare capacity, and empties it.
void WipeString(std::string* text);

}  // namespace parley

#endif  // PARLEY_LIB_BASE_SECRET_H_
