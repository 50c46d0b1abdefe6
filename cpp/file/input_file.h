// A file that is read from its beginning on.
#pragma once

#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace xnornet {

class InputFile {
 public:
  // `path`: UTF-8; of a file or a pipe. Throws std::runtime_error where it cannot be opened.
  explicit InputFile(const std::string& path);

  // Append the next `size` bytes, or those that there are left; memory grows with what has been read.
  // Throws std::runtime_error where they cannot be read.
  void read(size_t size, std::vector<char>& to);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace xnornet
