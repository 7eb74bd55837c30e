// Runs a fuzz target over its corpus, and over mutations of each file that are always the same: every truncation,
// a flipped bit in every byte, bytes that are left out, repeated and replaced. So a fuzz target guards against
// regressions, and works under the sanitizers, without libFuzzer.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

// Positions for each kind of mutation of one file, spread evenly over a longer one.
constexpr size_t kPositions = 150;
constexpr int kRandomMutations = 150;

void RunOne(const std::string& input) {
  // A copy of exactly its size on the heap: a byte read too many is an error to AddressSanitizer.
  const auto copy = std::make_unique<uint8_t[]>(std::max<size_t>(input.size(), 1));
  memcpy(copy.get(), input.data(), input.size());
  LLVMFuzzerTestOneInput(copy.get(), input.size());
}

void RunMutations(const std::string& input) {
  const size_t step = input.size() / kPositions + 1;
  std::mt19937 random(static_cast<uint32_t>(input.size()));
  for (size_t at = 0; at < input.size(); at += step) {
    RunOne(input.substr(0, at));
    RunOne(input.substr(0, at) + input.substr(at + 1));
    RunOne(input.substr(0, at) + input.substr(at / 2));
    std::string changed = input;
    changed[at] = static_cast<char>(changed[at] ^ (1 << random() % 8));
    RunOne(changed);
    for (const char value : {'\0', '\xff', '.', '/'}) {
      changed[at] = value;
      RunOne(changed);
    }
  }
  for (int i = 0; i < kRandomMutations && !input.empty(); ++i) {
    std::string changed = input;
    for (uint32_t count = 1 + random() % 8; count > 0; --count) {
      changed[random() % changed.size()] = static_cast<char>(random());
    }
    RunOne(changed);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) {
    fprintf(stderr, "no corpus: give at least one folder with files in it\n");
    return 1;
  }
  RunOne("");
  for (const std::filesystem::path& file : files) {
    std::ifstream stream(file, std::ios::binary);
    const std::string input((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
    if (!stream.good() && !stream.eof()) {
      fprintf(stderr, "cannot read %s\n", file.c_str());
      return 1;
    }
    // Named first, so that a crash is known by the last line.
    printf("%s (%zu bytes)\n", file.c_str(), input.size());
    fflush(stdout);
    RunOne(input);
    RunMutations(input);
  }
  printf("replayed %zu files\n", files.size());
  return 0;
}
