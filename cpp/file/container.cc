#include "file/container.h"

#include "file/sha256.h"

namespace xnornet {
namespace {

constexpr size_t kMaxHeader = size_t{16} << 20;
constexpr int64_t kMaxBytes = int64_t{1} << (sizeof(size_t) > 4 ? 48 : 30);  // of a tensor
constexpr std::string_view kReadable[] = {"1", "2", "3", "4", "5"};

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

size_t header_end(std::string_view beginning) {
  const auto advice = "; make one with `xnornet pack`";
  require(!beginning.starts_with("PK\3\4"), std::string("is a checkpoint, not a packed model") + advice);
  require(beginning.size() >= kLengthBytes, std::string("is not a packed model") + advice);
  uint64_t length = 0;
  for (size_t i = kLengthBytes; i-- > 0;) length = length << 8 | static_cast<unsigned char>(beginning[i]);
  require(length >= 2 && length <= kMaxHeader, std::string("is not a packed model, or damaged") + advice);
  return kLengthBytes + length;
}

Header::Header(std::string_view beginning) {
  const size_t end = header_end(beginning);
  require(end <= beginning.size(), "is truncated, or not a packed model: copy it again");
  std::string format, version;
  try {
    json = Json::parse(beginning.substr(kLengthBytes, end - kLengthBytes));
    for (const auto& [name, value] : json["__metadata__"].object()) {
      if (name == "format") format = value.string();
      if (name == "version") version = value.string();
    }
  } catch (const std::invalid_argument& error) {
    refuse(std::string("header is damaged, or this is not a packed model (") + error.what() + ")");
  }
  require(format == "xnornet", "is a safetensors file, but not a packed model; make one with `xnornet pack`");
  require(std::find(std::begin(kReadable), std::end(kReadable), version) != std::end(kReadable),
          "is of version '" + version + "', which this library does not read; use a newer one");

  std::map<int64_t, const Tensor*> by_offset;
  for (const auto& [name, entry] : json.object()) {
    if (name == "__metadata__") continue;
    const std::string& dtype = entry["dtype"].string();
    const int64_t item = dtype == "F32" || dtype == "I32" ? 4 : dtype == "F16" ? 2 : dtype == "U8" ? 1 : 0;
    require(item != 0, "tensor '" + name + "' is of dtype " + dtype);
    const std::vector<int64_t> shape = shape_of(entry["shape"]), offsets = shape_of(entry["data_offsets"]);
    const int64_t bytes = item * product(shape), at = offsets.empty() ? -1 : offsets[0];
    require(at >= 0 && at < kMaxBytes && offsets.size() == 2 && offsets[1] == at + bytes,
            "tensor '" + name + "' of these offsets has another shape");
    Tensor& tensor = tensors[name] = {name, dtype, shape, nullptr, static_cast<size_t>(bytes)};
    if (bytes > 0) require(by_offset.emplace(at, &tensor).second, "tensor '" + name + "' lies on another");
  }
  file_bytes = end;
  for (const auto& [offset, tensor] : by_offset) {  // they fill the rest of the file one after the other
    require(static_cast<size_t>(offset) == file_bytes - end, "its tensors do not follow each other");
    file_bytes += tensor->bytes;
    order.push_back(tensor->name);
  }
}

Container::Container(const Bytes& bytes)
    : owner_(std::make_shared<const Bytes>(bytes)), all_(bytes.data(), bytes.size()), header_(all_) {
  const std::string announced = std::to_string(header_.file_bytes) + " bytes are announced";
  require(header_.file_bytes <= all_.size(),
          "is truncated: " + announced + ", the file has " + std::to_string(all_.size()) + "; copy it again");
  require(header_.file_bytes >= all_.size(), "goes on after its last tensor: " + announced);
  check_digest();
  const char* data = all_.data() + header_end(all_);
  for (const std::string& name : header_.order) {
    header_.tensors[name].data = data;
    data += header_.tensors[name].bytes;
  }
}

Tensor Container::take(const std::string& name) {
  const auto found = header_.tensors.find(name);
  require(found != header_.tensors.end(), "there is no tensor '" + name + "'");
  Tensor tensor = std::move(found->second);
  header_.tensors.erase(found);
  return tensor;
}

void Container::require_all_taken() const {
  require(header_.tensors.empty(),
          "no op takes tensor '" + (header_.tensors.empty() ? "" : header_.tensors.begin()->first) + "'");
}

// The sum is that of the file with the sum's digits replaced by zeros.
void Container::check_digest() const {
  const std::string_view header = all_.substr(0, header_end(all_));
  const std::string key = "\"sha256\":\"", digest = header_.json["__metadata__"]["sha256"].string();
  const std::string needle = key + digest + '"';
  const size_t at = header.find(needle);
  const bool valid = digest.size() == 64 &&
                     digest.find_first_not_of("0123456789abcdef") == std::string::npos &&
                     at != std::string_view::npos && header.find(needle, at + 1) == std::string_view::npos;
  require(valid, "has no valid checksum; it is damaged, copy it again or pack it again");
  const size_t begin = at + key.size();
  Sha256 sum;
  sum.update(all_.substr(0, begin));
  sum.update(std::string(64, '0'));
  sum.update(all_.substr(begin + 64));
  require(sum.hex_digest() == digest,
          "does not match its checksum; it is damaged, copy it again or pack it again");
}

}  // namespace xnornet
