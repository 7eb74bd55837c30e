#include "clients/cli/large_code.h"

#include "absl/strings/str_cat.h"
#include "lib/sas/code.h"

namespace parley::cli {
namespace {

constexpr int kRows = 5;

struct Glyph {
  char letter;
  // Rows of five dots, from above.
  const char* dots;
};

// The alphabet of lib/sas: no 0, 1, I or O.
constexpr Glyph kGlyphs[] = {
    {'A', " ### #   #######   ##   #"}, {'B', "#### #   ##### #   ##### "}, {'C', " #####    #    #     ####"},
    {'D', "#### #   ##   ##   ##### "}, {'E', "######    #### #    #####"}, {'F', "######    #### #    #    "},
    {'G', " #####    #  ###   # ####"}, {'H', "#   ##   #######   ##   #"}, {'J', "  ###   #    #    # ###  "},
    {'K', "#   ##  # ###  #  # #   #"}, {'L', "#    #    #    #    #####"}, {'M', "#   ### ### # ##   ##   #"},
    {'N', "#   ###  ## # ##  ###   #"}, {'P', "#### #   ##### #    #    "}, {'Q', " ### #   ## # ##  #  ## #"},
    {'R', "#### #   ##### #  # #   #"}, {'S', " #####     ###     ##### "}, {'T', "#####  #    #    #    #  "},
    {'U', "#   ##   ##   ##   # ### "}, {'V', "#   ##   ##   # # #   #  "}, {'W', "#   ##   ## # ### ###   #"},
    {'X', "#   # # #   #   # # #   #"}, {'Y', "#   # # #   #    #    #  "}, {'Z', "#####   #   #   #   #####"},
    {'2', "####     # ### #    #####"}, {'3', "####     # ###     ##### "}, {'4', "#   ##   ######    #    #"},
    {'5', "######    ####     ##### "}, {'6', " ### #    #### #   # ### "}, {'7', "#####   #   #   #    #   "},
    {'8', " ### #   # ### #   # ### "}, {'9', " ### #   # ####    # ### "},
};

const char* DotsOf(char letter) {
  for (const Glyph& glyph : kGlyphs) {
    if (glyph.letter == letter) return glyph.dots;
  }
  return "                         ";
}

}  // namespace

std::vector<Secret> LargeCode(const Secret& code) {
  std::vector<Secret> lines;
  for (int row = 0; row < kRows; ++row) {
    std::string line;
    for (const char letter : code.Expose()) {
      const char* const dots = DotsOf(letter) + row * kRows;
      for (int column = 0; column < kRows; ++column) absl::StrAppend(&line, dots[column] == '#' ? "██" : "  ");
      absl::StrAppend(&line, "    ");
    }
    lines.push_back(Secret::Take(std::move(line)));
  }
  return lines;
}

Secret SpacedCode(const Secret& code) {
  std::string spaced;
  for (const char letter : code.Expose()) {
    absl::StrAppend(&spaced, spaced.empty() ? "" : " ", absl::string_view(&letter, 1));
  }
  return Secret::Take(std::move(spaced));
}

Secret SpelledCode(const Secret& code) {
  std::string spelled;
  for (const char letter : code.Expose()) {
    absl::StrAppend(&spelled, spelled.empty() ? "" : ", ", absl::string_view(&letter, 1), " as in ",
                    sas::SpokenLetter(letter));
  }
  return Secret::Take(std::move(spelled));
}

}  // namespace parley::cli
