// JSON as RFC 8259 has it, without its excesses, which docs/format.md lists: no duplicate keys, no deep
// nesting, no numbers beyond all bounds. format.py reads the same.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace xnornet {

class Json {
 public:
  // Throws std::invalid_argument where the text is anything else than one JSON value.
  static Json parse(std::string_view text);

  bool is_null() const { return kind_ == Kind::kNull; }

  // Each throws std::invalid_argument where the value is of another kind.
  bool boolean() const;
  int64_t integer() const;  // written without fraction and exponent, in at most 18 digits
  double number() const;    // such a one, or a real one
  const std::string& string() const;
  const std::vector<Json>& array() const;
  const std::vector<std::pair<std::string, Json>>& object() const;  // in the order of their names
  const Json& operator[](std::string_view name) const;  // of an object; throws where it has none of this name

 private:
  enum class Kind { kNull, kBoolean, kInteger, kReal, kHuge, kString, kArray, kObject };
  friend class JsonParser;

  void require(bool condition, const char* what) const;

  Kind kind_ = Kind::kNull;
  int64_t integer_ = 0;  // of a boolean too
  double real_ = 0;
  std::string string_;
  std::vector<Json> array_;
  std::vector<std::pair<std::string, Json>> object_;
};

}  // namespace xnornet
