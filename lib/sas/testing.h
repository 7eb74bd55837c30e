// For tests alone (a testonly target): exchanges with shortened codes and fixed randomness, and a look inside.
#ifndef PARLEY_LIB_SAS_TESTING_H_
#define PARLEY_LIB_SAS_TESTING_H_

#include <cstdint>
#include <string>
#include <utility>

#include "lib/sas/exchange.h"

namespace parley::sas {

class ExchangeTestAccess {
 public:
  static absl::StatusOr<Exchange> Begin(Role role, const Context& context, int bits_per_letter, RandomSource random) {
    return Exchange::BeginWith(role, context, Exchange::Settings{bits_per_letter, std::move(random)});
  }
  static const Keys& keys(const Exchange& exchange) { return exchange.keys_; }
  static size_t right_choice(const Exchange& exchange) { return exchange.right_choice_; }
  static const std::string& transcript(const Exchange& exchange) { return exchange.transcript_.hash(); }
  static bool nonce_out(const Exchange& exchange) { return exchange.nonce_out_; }
};

// SplitMix64: the same bytes for the same seed, on every machine.
class SeededRandom {
 public:
  explicit SeededRandom(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
  }
  uint64_t Below(uint64_t bound) { return Next() % bound; }
  std::string Bytes(size_t size) {
    std::string bytes;
    while (bytes.size() < size) bytes.push_back(static_cast<char>(Next() >> 32));
    return bytes;
  }
  // Must outlive what it is given to.
  RandomSource Source() {
    return [this](size_t size) { return Secret::Take(Bytes(size)); };
  }

 private:
  uint64_t state_;
};

// What a person does who hears `heard` on the phone: the choice that reads so, or none.
inline std::optional<size_t> ChoiceHeard(const Exchange& exchange, const Secret& heard) {
  for (size_t i = 0; i < exchange.choices().size(); ++i) {
    if (exchange.choices()[i] == heard) return i;
  }
  return std::nullopt;
}

}  // namespace parley::sas

#endif  // PARLEY_LIB_SAS_TESTING_H_
