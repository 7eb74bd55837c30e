// The codes that people read to each other: 4 letters of an alphabet of 32, and three decoys to choose among.
//
// The alphabet has no 0, 1, I or O. A choice is a decision, not a yes: someone who does not listen is right one time
// in four at most, and mistaking one letter is never enough to pick a wrong one.
//
// Threads: free functions without state.
#ifndef PARLEY_LIB_SAS_CODE_H_
#define PARLEY_LIB_SAS_CODE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "absl/strings/string_view.h"
#include "lib/base/secret.h"

namespace parley::sas {

inline constexpr int kCodeLetters = 4;
inline constexpr int kBitsPerLetter = 5;
inline constexpr size_t kChoices = 4;

// Returns random bytes of the given size: crypto::RandomSecret except in tests.
using RandomSource = std::function<Secret(size_t)>;

// Returns the letters of a code: its highest bits first, `bits_per_letter` each.
Secret CodeLetters(uint32_t code, int bits_per_letter);

// Returns in how many of their letters two codes differ.
int LettersThatDiffer(uint32_t a, uint32_t b, int bits_per_letter);

struct ChoiceSet {
  std::array<uint32_t, kChoices> codes;
  size_t right = 0;
};

// Puts the right code at a uniformly random place among decoys. Any two of the four codes differ in two letters or
// more.
ChoiceSet MakeChoices(uint32_t right, int bits_per_letter, const RandomSource& random);

// Returns how to say a letter on the phone: 'A' is "Alfa", '7' is "seven". Returns an empty text for what is not in the
// alphabet.
absl::string_view SpokenLetter(char letter);

}  // namespace parley::sas

#endif  // PARLEY_LIB_SAS_CODE_H_
