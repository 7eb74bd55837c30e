// The terminal as a screen that a command draws again and again, and gives back as it was.
//
// Threads: one thread at a time. Standard output must be a terminal.
#ifndef PARLEY_CLIENTS_CLI_SCREEN_H_
#define PARLEY_CLIENTS_CLI_SCREEN_H_

#include <termios.h>

#include <string>
#include <vector>

namespace parley::cli {

class Screen {
 public:
  // Takes the terminal's other screen, and hides the cursor and what is typed.
  Screen() { Enter(); }
  // Gives the terminal back, with what stood on it before.
  ~Screen() { Leave(); }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // Do what the constructor and the destructor do, for a command that is stopped by Ctrl-Z and goes on.
  void Enter();
  void Leave();
  // Replaces what stands on the screen. No line may be wider than the terminal.
  void Draw(const std::vector<std::string>& lines);

 private:
  bool entered_ = false;
  bool settings_changed_ = false;
  termios settings_ = {};
};

}  // namespace parley::cli

#endif  // PARLEY_CLIENTS_CLI_SCREEN_H_
