#include "clients/cli/text_diff.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lib/base/utf8.h"

namespace parley::cli {
namespace {

using Lines = std::vector<absl::string_view>;

// The table of the longest common subsequence has no more cells, of 2 bytes each.
constexpr size_t kMostCells = 4'000'000;
constexpr size_t kContextLines = 3;

// Each line has its break, except for the last one of a text that does not end in one.
Lines SplitLines(absl::string_view text) {
  Lines lines;
  while (!text.empty()) {
    const size_t size = std::min(text.find('\n'), text.size() - 1) + 1;
    lines.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return lines;
}

// One line of the comparison, and which lines of the two texts come next before it.
struct Step {
  char kind;
  absl::string_view line;
  size_t before;
  size_t after;
};

// Goes through what differs, by the longest common subsequence.
void Compare(const Lines& before, const Lines& after, size_t common, std::vector<Step>* steps) {
  const size_t rows = before.size(), columns = after.size();
  std::vector<uint16_t> lengths((rows + 1) * (columns + 1));
  const auto length = [&](size_t row, size_t column) -> uint16_t& { return lengths[row * (columns + 1) + column]; };
  for (size_t row = rows; row-- > 0;) {
    for (size_t column = columns; column-- > 0;) {
      length(row, column) = before[row] == after[column] ? static_cast<uint16_t>(length(row + 1, column + 1) + 1)
                                                         : std::max(length(row + 1, column), length(row, column + 1));
    }
  }
  for (size_t row = 0, column = 0; row < rows || column < columns;) {
    const Step step{' ', "", common + row, common + column};
    if (row < rows && column < columns && before[row] == after[column]) {
      steps->push_back({' ', before[row], step.before, step.after});
      ++row;
      ++column;
    } else if (row < rows && (column == columns || length(row + 1, column) >= length(row, column + 1))) {
      steps->push_back({'-', before[row++], step.before, step.after});
    } else {
      steps->push_back({'+', after[column++], step.before, step.after});
    }
  }
}

// Returns "1,3": where the lines begin, from 1, and how many there are.
std::string Span(size_t first, size_t count) { return absl::StrCat(count == 0 ? first : first + 1, ",", count); }

void AddHunk(const std::vector<Step>& steps, size_t begin, size_t end, std::vector<std::string>* hunks) {
  size_t removed = 0, added = 0;
  for (size_t i = begin; i < end; ++i) {
    removed += steps[i].kind != '+' ? 1 : 0;
    added += steps[i].kind != '-' ? 1 : 0;
  }
  hunks->push_back(
      absl::StrCat("@@ -", Span(steps[begin].before, removed), " +", Span(steps[begin].after, added), " @@"));
  for (size_t i = begin; i < end; ++i) {
    const absl::string_view line = absl::StripSuffix(steps[i].line, "\n");
    hunks->push_back(absl::StrCat(std::string(1, steps[i].kind), line));
    if (line.size() == steps[i].line.size()) hunks->push_back("\\ No newline at end of file");
  }
}

}  // namespace

bool IsSmallText(absl::string_view content) {
  return content.size() <= kMostDiffBytes && content.find('\0') == absl::string_view::npos && IsUtf8(content);
}

std::optional<std::vector<std::string>> UnifiedDiff(absl::string_view before, absl::string_view after) {
  Lines old_lines = SplitLines(before), new_lines = SplitLines(after);
  size_t common = 0;
  while (common < old_lines.size() && common < new_lines.size() && old_lines[common] == new_lines[common]) ++common;
  size_t tail = 0;
  while (tail < old_lines.size() - common && tail < new_lines.size() - common &&
         old_lines[old_lines.size() - 1 - tail] == new_lines[new_lines.size() - 1 - tail]) {
    ++tail;
  }
  const auto middle = [&](const Lines& lines) {
    return Lines(lines.begin() + static_cast<ptrdiff_t>(common), lines.end() - static_cast<ptrdiff_t>(tail));
  };
  const Lines removed = middle(old_lines), added = middle(new_lines);
  if ((removed.size() + 1) * (added.size() + 1) > kMostCells) return std::nullopt;
  std::vector<Step> steps;
  for (size_t i = 0; i < common; ++i) steps.push_back({' ', old_lines[i], i, i});
  Compare(removed, added, common, &steps);
  for (size_t i = tail; i > 0; --i) {
    steps.push_back({' ', old_lines[old_lines.size() - i], old_lines.size() - i, new_lines.size() - i});
  }

  std::vector<std::string> hunks;
  const auto changed = [&](size_t from) {
    while (from < steps.size() && steps[from].kind == ' ') ++from;
    return from;
  };
  for (size_t next = changed(0); next < steps.size();) {
    const size_t begin = next - std::min(next, kContextLines);
    size_t end = next;
    // Changes whose lines around them meet are one hunk.
    while (next < steps.size() && next - end <= 2 * kContextLines) {
      end = next;
      while (end < steps.size() && steps[end].kind != ' ') ++end;
      next = changed(end);
    }
    end = std::min(steps.size(), end + kContextLines);
    AddHunk(steps, begin, end, &hunks);
  }
  return hunks;
}

}  // namespace parley::cli
