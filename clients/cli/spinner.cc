#include "clients/cli/spinner.h"

#include <iterator>

#include "absl/strings/str_cat.h"
#include "clients/cli/terminal.h"

namespace parley::cli {
namespace {

constexpr const char* kFrames[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
constexpr absl::Duration kFrame = absl::Milliseconds(100);

}  // namespace

void Spinner::Start(const std::string& text) {
  Stop();
  if (!StdoutIsTerminal()) return PrintLine("  … ", text);
  {
    MutexLock lock(&mutex_);
    stop_ = false;
  }
  thread_ = std::thread([this, text] { Turn(text); });
}

void Spinner::Turn(const std::string& text) {
  MutexLock lock(&mutex_);
  for (size_t frame = 0; !stop_; ++frame) {
    RedrawLine(absl::StrCat("  ", kFrames[frame % std::size(kFrames)], " ", Dim(text)));
    changed_.WaitFor(&mutex_, kFrame);
  }
  RedrawLine("");
}

void Spinner::Stop() {
  if (!thread_.joinable()) return;
  {
    MutexLock lock(&mutex_);
    stop_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

}  // namespace parley::cli
