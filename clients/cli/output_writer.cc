#include "clients/cli/output_writer.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"

namespace parley::cli {
namespace {

// A pipe that poll calls writable takes this much without making the writer wait.
constexpr size_t kPieceBytes = 4096;
constexpr absl::Duration kLook = absl::Milliseconds(50);

}  // namespace

OutputWriter::OutputWriter(Options options)
    : options_(std::move(options)), wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!wake_fd_.ok()) abort();
  {
    MutexLock lock(&mutex_);
    streams_[0].fd = options_.out_fd;
    streams_[1].fd = options_.error_fd;
  }
  thread_ = std::thread([this] { Run(); });
}

OutputWriter::~OutputWriter() {
  {
    MutexLock lock(&mutex_);
    stop_ = true;
  }
  Wake();
  thread_.join();
}

void OutputWriter::WriteLine(absl::string_view line) { Add(0, {absl::StrCat(line, "\n"), false}); }
void OutputWriter::WriteErrorLine(absl::string_view line) { Add(1, {absl::StrCat(line, "\n"), false}); }
void OutputWriter::Redraw(absl::string_view text) { Add(0, {absl::StrCat("\r\x1b[K", text), true}); }

void OutputWriter::Add(size_t index, Entry entry) {
  {
    MutexLock lock(&mutex_);
    Stream* const stream = &streams_[index];
    if (stream->gone) return;
    // The first entry may be half written.
    if (entry.redraw && stream->waiting.size() > 1 && stream->waiting.back().redraw) {
      stream->bytes -= stream->waiting.back().text.size();
      stream->waiting.pop_back();
    }
    const bool fits = stream->bytes + entry.text.size() <= options_.max_bytes;
    if (!fits && !entry.redraw) ++stream->dropped;
    if (!fits) return;
    NoteDropped(stream);
    Push(stream, std::move(entry));
  }
  Wake();
}

void OutputWriter::Push(Stream* stream, Entry entry) {
  stream->bytes += entry.text.size();
  stream->waiting.push_back(std::move(entry));
}

void OutputWriter::NoteDropped(Stream* stream) {
  if (stream->dropped == 0) return;
  Push(stream, {absl::StrCat(options_.note(stream->dropped), "\n"), false});
  stream->dropped = 0;
}

void OutputWriter::Wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_fd_.get(), &one, sizeof(one));
}

bool OutputWriter::IsDrained() const {
  return std::all_of(streams_.begin(), streams_.end(), [](const Stream& stream) { return stream.waiting.empty(); });
}

void OutputWriter::Run() {
  while (true) {
    pollfd fds[] = {{wake_fd_.get(), POLLIN, 0}, {-1, POLLOUT, 0}, {-1, POLLOUT, 0}};
    {
      MutexLock lock(&mutex_);
      for (size_t i = 0; i < streams_.size(); ++i) {
        if (!streams_[i].waiting.empty()) fds[i + 1].fd = streams_[i].fd;
      }
      if (stop_) return;
    }
    if (poll(fds, 3, -1) < 0) continue;
    uint64_t count;
    if (fds[0].revents != 0) [[maybe_unused]]
      const ssize_t got = read(wake_fd_.get(), &count, sizeof(count));
    for (size_t i = 0; i < 2; ++i) {
      if (fds[i + 1].revents != 0) WriteSome(i);
    }
  }
}

void OutputWriter::WriteSome(size_t index) {
  std::string piece;
  int fd = -1;
  {
    MutexLock lock(&mutex_);
    const Stream& stream = streams_[index];
    piece = stream.waiting.front().text.substr(stream.written, kPieceBytes);
    fd = stream.fd;
  }
  const ssize_t written = write(fd, piece.data(), piece.size());
  const int error_number = written < 0 ? errno : 0;
  if (error_number == EINTR || error_number == EAGAIN) return;
  MutexLock lock(&mutex_);
  Stream* const stream = &streams_[index];
  ++moves_;
  if (written >= 0) {
    stream->written += static_cast<size_t>(written);
  } else if (error_number != ENOSPC) {
    stream->gone = true;
    stream->waiting.clear();
    stream->bytes = 0;
  }
  // A disk that is full swallows the line, and may have room for the next one.
  if (!stream->gone && (written < 0 || stream->written == stream->waiting.front().text.size())) {
    stream->bytes -= stream->waiting.front().text.size();
    stream->waiting.pop_front();
    stream->written = 0;
    if (stream->waiting.empty()) NoteDropped(stream);
  }
  moved_.NotifyAll();
}

bool OutputWriter::Finish(const std::function<absl::Duration()>& patience) {
  using SteadyClock = std::chrono::steady_clock;
  MutexLock lock(&mutex_);
  int64_t seen = moves_;
  SteadyClock::time_point since = SteadyClock::now();
  while (!IsDrained()) {
    moved_.WaitFor(&mutex_, kLook);
    if (moves_ != seen) since = SteadyClock::now();
    seen = moves_;
    if (absl::FromChrono(SteadyClock::now() - since) >= patience()) return false;
  }
  return true;
}

}  // namespace parley::cli
