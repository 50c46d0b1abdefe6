#include "file/input_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#if defined(_WIN32)
#include <filesystem>
#endif

namespace xnornet {
namespace {

constexpr size_t kPiece = size_t{1} << 20;

[[noreturn]] void fail() {
  throw std::runtime_error(std::string("cannot be read (") + std::strerror(errno) + ")");
}

std::FILE* open(const std::string& path) {
#if defined(_WIN32)
  return _wfopen(std::filesystem::path(std::u8string(path.begin(), path.end())).c_str(), L"rb");
#else
  return std::fopen(path.c_str(), "rbe");
#endif
}

}  // namespace

InputFile::InputFile(const std::string& path) : file_(open(path)) {
  if (!file_) fail();
}

void InputFile::read(size_t size, std::vector<char>& to) {
  const size_t begin = to.size();
  for (size_t done = 0, count = 1; done < size && count > 0; done += count) {
    const size_t wanted = std::min(kPiece, size - done);
    to.resize(begin + done + wanted);
    count = std::fread(to.data() + begin + done, 1, wanted, file_.get());
    to.resize(begin + done + count);
    if (count < wanted && std::ferror(file_.get())) fail();
  }
}

}  // namespace xnornet
