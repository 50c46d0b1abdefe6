#include "file/container.h"

#include "file/sha256.h"

namespace xnornet {
namespace {

constexpr size_t kMaxHeader = size_t{16} << 20;
constexpr int64_t kMaxBytes = int64_t{1} << 48;
constexpr std::string_view kReadable[] = {"1", "2", "3", "4"};

}  // namespace

int64_t product(const std::vector<int64_t>& shape) {
  int64_t size = 1;
  for (int64_t n : shape) {
    require(n >= 0 && (n == 0 || size <= kMaxBytes / n), "a shape is out of range");
    size *= n;
  }
  return size;
}

std::vector<int64_t> shape_of(const Json& numbers) {
  std::vector<int64_t> shape;
  for (const Json& n : numbers.array()) shape.push_back(n.integer());
  return shape;
}

Container::Container(const Bytes& bytes)
    : owner_(std::make_shared<const Bytes>(bytes)), all_(bytes.data(), bytes.size()) {
  require(all_.size() >= 8, "is not a packed model");
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<unsigned char>(all_[i]);
  require(length >= 2 && length <= kMaxHeader, "is not a packed model, or damaged");
  require(length <= all_.size() - 8, "is truncated, or not a packed model");
  const std::string_view text = all_.substr(8, length);
  try {
    header_ = Json::parse(text);
    read_metadata();
  } catch (const std::invalid_argument& error) {
    refuse(std::string("header is damaged, or this is not a packed model (") + error.what() + ")");
  }
  require(format_ == "xnornet", "is a safetensors file, but not a packed model");
  require(std::find(std::begin(kReadable), std::end(kReadable), version_) != std::end(kReadable),
          "is of version '" + version_ + "', which this library does not read; use a newer one");
  find_tensors(8 + length);
  check_digest(8 + length);
}

Tensor Container::take(const std::string& name) {
  const auto found = tensors_.find(name);
  require(found != tensors_.end(), "there is no tensor '" + name + "'");
  Tensor tensor = std::move(found->second);
  tensors_.erase(found);
  return tensor;
}

void Container::require_all_taken() const {
  require(tensors_.empty(), "no op takes tensor '" + (tensors_.empty() ? "" : tensors_.begin()->first) + "'");
}

void Container::read_metadata() {
  for (const auto& [name, value] : header_["__metadata__"].object()) {
    if (name == "format") format_ = value.string();
    if (name == "version") version_ = value.string();
  }
}

// The sum is that of the file with the sum's digits replaced by zeros.
void Container::check_digest(size_t header_end) const {
  const std::string key = "\"sha256\":\"", digest = header_["__metadata__"]["sha256"].string();
  const std::string needle = key + digest + '"';
  const size_t at = all_.substr(0, header_end).find(needle);
  const bool valid = digest.size() == 64 &&
                     digest.find_first_not_of("0123456789abcdef") == std::string::npos &&
                     at != std::string_view::npos &&
                     all_.substr(0, header_end).find(needle, at + 1) == std::string_view::npos;
  require(valid, "has no valid checksum; it is damaged, copy it again or pack it again");
  const size_t begin = at + key.size();
  Sha256 sum;
  sum.update(all_.substr(0, begin));
  sum.update(std::string(64, '0'));
  sum.update(all_.substr(begin + 64));
  require(sum.hex_digest() == digest,
          "does not match its checksum; it is damaged, copy it again or pack it again");
}

// They fill the rest of the file one after the other.
void Container::find_tensors(size_t begin) {
  std::map<int64_t, Tensor*> by_offset;
  for (const auto& [name, entry] : header_.object()) {
    if (name == "__metadata__") continue;
    const std::string& dtype = entry["dtype"].string();
    const int64_t item = dtype == "F32" || dtype == "I32" ? 4 : dtype == "F16" ? 2 : dtype == "U8" ? 1 : 0;
    require(item != 0, "tensor '" + name + "' is of dtype " + dtype);
    const std::vector<int64_t> shape = shape_of(entry["shape"]), offsets = shape_of(entry["data_offsets"]);
    const int64_t bytes = item * product(shape), at = offsets.empty() ? -1 : offsets[0];
    require(at >= 0 && at < kMaxBytes && offsets.size() == 2 && offsets[1] == at + bytes,
            "tensor '" + name + "' of these offsets has another shape");
    Tensor& tensor = tensors_[name] = {dtype, shape, nullptr, static_cast<size_t>(bytes)};
    if (bytes > 0) require(by_offset.emplace(at, &tensor).second, "tensor '" + name + "' lies on another");
  }
  int64_t end = 0;
  for (const auto& [offset, tensor] : by_offset) {
    require(offset == end, "its tensors do not follow each other");
    end += static_cast<int64_t>(tensor->bytes);
  }
  const size_t announced = begin + static_cast<size_t>(end), size = all_.size();
  const std::string sizes =
      std::to_string(announced) + " bytes are announced, the file has " + std::to_string(size);
  require(announced <= size, "is truncated: " + sizes);
  require(announced >= size, "goes on after its last tensor: " + sizes);
  for (const auto& [offset, tensor] : by_offset) tensor->data = all_.data() + begin + offset;
}

}  // namespace xnornet
