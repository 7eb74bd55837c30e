// Standard output and standard error of a command that must go on whatever becomes of its readers: a pipe that nobody
// empties, a terminal that Ctrl-S has stopped, one that is gone.
//
// Guarantees: WriteLine and Redraw never wait. Lines reach their stream in order and whole, written by a thread of the
// writer's own. When too much waits, new lines are dropped, and once there is room a line says how many. A stream that
// cannot be written to any more swallows the rest.
//
// Threads: any thread may call any method; the destructor runs alone, after Finish has returned true. A process whose
// output is stuck ends by _exit, because the writer's thread may be blocked for good.
#ifndef PARLEY_CLIENTS_CLI_OUTPUT_WRITER_H_
#define PARLEY_CLIENTS_CLI_OUTPUT_WRITER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <thread>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "lib/base/fd.h"
#include "lib/base/mutex.h"

namespace parley::cli {

class OutputWriter {
 public:
  struct Options {
    // How many bytes may wait for each of the two streams.
    size_t max_bytes = 256 << 10;
    // Makes the line that stands where `lines` lines were dropped.
    std::function<std::string(int64_t lines)> note;
    int out_fd = 1;
    int error_fd = 2;
  };
  explicit OutputWriter(Options options);
  ~OutputWriter();
  OutputWriter(const OutputWriter&) = delete;
  OutputWriter& operator=(const OutputWriter&) = delete;

  void WriteLine(absl::string_view line);
  void WriteErrorLine(absl::string_view line);
  // Puts a text in place of the line that the cursor is in. If several wait, only the newest is shown.
  void Redraw(absl::string_view text);

  // Waits until everything is written. Returns false if nothing could be written for as long as `patience` says, which
  // is asked again and again.
  bool Finish(const std::function<absl::Duration()>& patience);

 private:
  struct Entry {
    std::string text;
    bool redraw = false;
  };
  struct Stream {
    int fd = -1;
    std::deque<Entry> waiting;
    // How many bytes of the first entry are written, and how many all entries have.
    size_t written = 0;
    size_t bytes = 0;
    int64_t dropped = 0;
    bool gone = false;
  };

  void Add(size_t index, Entry entry);
  void Push(Stream* stream, Entry entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteDropped(Stream* stream) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsDrained() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Run();
  void WriteSome(size_t index);
  void Wake();

  const Options options_;
  const Fd wake_fd_;
  Mutex mutex_;
  CondVar moved_;
  std::array<Stream, 2> streams_ ABSL_GUARDED_BY(mutex_);
  // Counts the writes that took something.
  int64_t moves_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_OUTPUT_WRITER_H_
