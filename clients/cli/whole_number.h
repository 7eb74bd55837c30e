// The check of an option that is a number: CLI11's own speaks of floating-point limits.
//
// Threads: a pure function.
#ifndef PARLEY_CLIENTS_CLI_WHOLE_NUMBER_H_
#define PARLEY_CLIENTS_CLI_WHOLE_NUMBER_H_

#include <cstdint>
#include <limits>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "clients/cli/terminal.h"

namespace parley::cli {

// Accepts 0 to `most`.
inline CLI::Validator WholeNumber(int64_t most = std::numeric_limits<int32_t>::max()) {
  return CLI::Validator(
      [most](const std::string& text) {
        int64_t number = 0;
        if (absl::SimpleAtoi(text, &number) && number >= 0 && number <= most) return std::string();
        return absl::StrCat("\"", Printable(text.substr(0, 40)), "\" is not a whole number from 0 to ", most);
      },
      "");
}

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_WHOLE_NUMBER_H_
