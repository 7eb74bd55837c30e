// The three descriptors that every process is started with.
//
// Threads: a process has one when it calls this.
#ifndef PARLEY_LIB_BASE_STANDARD_STREAMS_H_
#define PARLEY_LIB_BASE_STANDARD_STREAMS_H_

#include <fcntl.h>
#include <unistd.h>

namespace parley {

// Opens /dev/null for reading in place of each standard stream that was closed when the process was started. Without
// that a file of the process's own would get its number, and what is printed would be written into the file. A process
// calls it before it opens anything; printing to such a stream then fails with EBADF, as it did.
inline void FillStandardStreams() {
  int fd = open("/dev/null", O_RDONLY);
  // The lowest number that is free is given out.
  while (fd >= 0 && fd <= STDERR_FILENO) fd = open("/dev/null", O_RDONLY);
  if (fd >= 0) close(fd);
}

}  // namespace parley

#endif  // PARLEY_LIB_BASE_STANDARD_STREAMS_H_
