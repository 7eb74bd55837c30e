#include "lib/sas/code.h"

#include <algorithm>

#include "lib/base/encoding.h"

namespace parley::sas {
namespace {

constexpr absl::string_view kAlphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
static_assert(kAlphabet.size() == 1 << kBitsPerLetter);

constexpr absl::string_view kSpoken[] = {
    "Alfa",   "Bravo",    "Charlie", "Delta",  "Echo",  "Foxtrot", "Golf",  "Hotel",   "Juliett", "Kilo",    "Lima",
    "Mike",   "November", "Papa",    "Quebec", "Romeo", "Sierra",  "Tango", "Uniform", "Victor",  "Whiskey", "X-ray",
    "Yankee", "Zulu",     "two",     "three",  "four",  "five",    "six",   "seven",   "eight",   "nine"};
static_assert(sizeof(kSpoken) / sizeof(kSpoken[0]) == kAlphabet.size());

uint32_t LetterAt(uint32_t code, int place, int bits_per_letter) {
  return (code >> ((kCodeLetters - 1 - place) * bits_per_letter)) & ((1u << bits_per_letter) - 1);
}

bool IsFarFrom(uint32_t candidate, const std::array<uint32_t, kChoices>& codes, size_t count, int bits_per_letter) {
  return std::all_of(codes.begin(), codes.begin() + count,
                     [&](uint32_t code) { return LettersThatDiffer(candidate, code, bits_per_letter) >= 2; });
}

uint32_t RandomCode(int bits_per_letter, const RandomSource& random) {
  const uint64_t mask = (uint64_t{1} << (kCodeLetters * bits_per_letter)) - 1;
  return static_cast<uint32_t>(FromBigEndian(random(4).Expose()) & mask);
}

}  // namespace

Secret CodeLetters(uint32_t code, int bits_per_letter) {
  Secret letters(kCodeLetters);
  for (int place = 0; place < kCodeLetters; ++place) {
    letters.mutable_bytes()[place] = static_cast<uint8_t>(kAlphabet[LetterAt(code, place, bits_per_letter)]);
  }
  return letters;
}

int LettersThatDiffer(uint32_t a, uint32_t b, int bits_per_letter) {
  int count = 0;
  for (int place = 0; place < kCodeLetters; ++place) {
    count += LetterAt(a, place, bits_per_letter) != LetterAt(b, place, bits_per_letter);
  }
  return count;
}

ChoiceSet MakeChoices(uint32_t right, int bits_per_letter, const RandomSource& random) {
  // Decoys are drawn first and only then put around the right code, so that its place depends on nothing.
  std::array<uint32_t, kChoices> drawn = {right};
  for (size_t count = 1; count < kChoices;) {
    const uint32_t decoy = RandomCode(bits_per_letter, random);
    if (IsFarFrom(decoy, drawn, count, bits_per_letter)) drawn[count++] = decoy;
  }
  ChoiceSet choices;
  static_assert(256 % kChoices == 0, "a byte must give every place alike");
  choices.right = static_cast<uint8_t>(random(1).Expose()[0]) % kChoices;
  choices.codes[choices.right] = right;
  for (size_t place = 0, decoy = 1; place < kChoices; ++place) {
    if (place != choices.right) choices.codes[place] = drawn[decoy++];
  }
  return choices;
}

absl::string_view SpokenLetter(char letter) {
  const size_t index = kAlphabet.find(letter);
  return index == absl::string_view::npos ? absl::string_view() : kSpoken[index];
}

}  // namespace parley::sas
