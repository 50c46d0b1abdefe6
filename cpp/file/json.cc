#include "file/json.h"

#include <algorithm>
#include <cmath>
#include <locale>
#include <sstream>
#include <stdexcept>

namespace xnornet {

class JsonParser {
 public:
  explicit JsonParser(std::string_view text) : text_(text) {
    if (const size_t bad = first_bad_utf8(text); bad != text.size()) {
      at_ = bad;
      fail("no UTF-8");
    }
  }

  Json document() {
    Json value = parse_value(0);
    skip_space();
    if (at_ != text_.size()) fail("something follows it");
    return value;
  }

 private:
  // As format.py's. A level takes 560 bytes of the stack, of which a thread may have 64 KB.
  static constexpr int kDeepest = 32;
  static constexpr size_t kMostValues = size_t{1} << 21;  // a file of millions of ops is none of ours
  static constexpr size_t kMostDigits = 640;              // of a whole number

  // Where the first sequence begins that is not UTF-8 (cut short, too long, a surrogate, beyond Unicode), or
  // the end.
  static size_t first_bad_utf8(std::string_view text) {
    for (size_t i = 0; i < text.size();) {
      const auto lead = static_cast<unsigned char>(text[i]);
      const size_t more = lead < 0x80   ? 0
                          : lead < 0xC2 ? 4
                          : lead < 0xE0 ? 1
                          : lead < 0xF0 ? 2
                          : lead < 0xF5 ? 3
                                        : 4;
      if (more == 4 || i + more >= text.size()) return i;
      uint32_t code = more == 0 ? lead : lead & (0x3F >> more);
      for (size_t k = 1; k <= more; ++k) {
        const auto next = static_cast<unsigned char>(text[i + k]);
        if ((next & 0xC0) != 0x80) return i;
        code = code << 6 | (next & 0x3F);
      }
      const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
      if (code < least[more] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return i;
      i += more + 1;
    }
    return text.size();
  }

  [[noreturn]] void fail(const char* what) const {
    throw std::invalid_argument("JSON, at byte " + std::to_string(at_) + ": " + what);
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c, const char* what) {
    if (!take(c)) fail(what);
  }
  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
  }

  Json parse_value(int depth) {
    if (depth > kDeepest) fail("nested too deeply");
    if (++values_ > kMostValues) fail("too many values");
    skip_space();
    Json value;
    switch (peek()) {
      case '{':
        parse_object(value, depth);
        break;
      case '[':
        parse_array(value, depth);
        break;
      case '"':
        value.kind_ = Json::Kind::kString;
        value.string_ = parse_string();
        break;
      case 't':
      case 'f':
        value.kind_ = Json::Kind::kBoolean;
        value.integer_ = peek() == 't';
        parse_word(value.integer_ ? "true" : "false");
        break;
      case 'n':
        parse_word("null");
        break;
      default:
        parse_number(value);
    }
    return value;
  }

  void parse_word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) fail("no value");
    at_ += word.size();
  }

  void parse_array(Json& value, int depth) {
    value.kind_ = Json::Kind::kArray;
    ++at_;
    skip_space();
    if (take(']')) return;
    do {
      value.array_.push_back(parse_value(depth + 1));
      skip_space();
    } while (take(','));
    expect(']', "no ']'");
  }

  void parse_object(Json& value, int depth) {
    value.kind_ = Json::Kind::kObject;
    ++at_;
    skip_space();
    if (take('}')) return;
    do {
      skip_space();
      if (peek() != '"') fail("no name");
      std::string name = parse_string();
      skip_space();
      expect(':', "no ':'");
      value.object_.emplace_back(std::move(name), parse_value(depth + 1));
      skip_space();
    } while (take(','));
    expect('}', "no '}'");
    auto& members = value.object_;
    std::sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (size_t i = 1; i < members.size(); ++i)
      if (members[i].first == members[i - 1].first) fail("two members have one name");
  }

  void digits() {
    const size_t begin = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    if (at_ == begin) fail("no value");
  }

  void parse_number(Json& value) {
    const size_t begin = at_;
    take('-');
    if (!take('0')) digits();
    bool whole = true;
    if (take('.')) {
      whole = false;
      digits();
    }
    if (take('e') || take('E')) {
      whole = false;
      if (!take('+')) take('-');
      digits();
    }
    const std::string text(text_.substr(begin, at_ - begin));
    if (whole) {
      const size_t digits = text.size() - (text[0] == '-');
      if (digits > kMostDigits) fail("a whole number of too many digits");
      value.kind_ = Json::Kind::kHuge;
      if (digits > 18) return;
      value.kind_ = Json::Kind::kInteger;
      value.integer_ = std::stoll(text);
      value.real_ = static_cast<double>(value.integer_);
      return;
    }
    // A stream of the classic locale: strtod would want the decimal comma of the program's own.
    std::istringstream stream(text);
    stream.imbue(std::locale::classic());
    stream >> value.real_;
    // Some libraries fail at numbers that are too small, too, and leave 0 or nearly so.
    if (!stream && std::abs(value.real_) > 1) fail("a number that is too large");
    value.kind_ = Json::Kind::kReal;
  }

  std::string parse_string() {
    std::string out;
    ++at_;
    while (!take('"')) {
      if (at_ == text_.size()) fail("a string without an end");
      const char c = text_[at_++];
      if (static_cast<unsigned char>(c) < 0x20) fail("a control character");
      if (c == '\\')
        parse_escape(out);
      else
        out += c;
    }
    return out;
  }

  void parse_escape(std::string& out) {
    constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    if (take('u')) {
      uint32_t code = hex4();
      if (code >= 0xDC00 && code < 0xE000) fail("half a surrogate pair");
      if (code >= 0xD800 && code < 0xDC00) {
        if (!take('\\') || !take('u')) fail("half a surrogate pair");
        const uint32_t low = hex4();
        if (low < 0xDC00 || low >= 0xE000) fail("half a surrogate pair");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      }
      return append_utf8(out, code);
    }
    const size_t which = kFrom.find(peek());
    if (at_ == text_.size() || which == std::string_view::npos) fail("an unknown escape");
    ++at_;
    out += kTo[which];
  }

  uint32_t hex4() {
    uint32_t code = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) fail("an unknown escape");
      code = code << 4 | static_cast<uint32_t>(digit);
      ++at_;
    }
    return code;
  }

  static void append_utf8(std::string& out, uint32_t code) {
    const int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    constexpr uint32_t kLead[] = {0x00, 0xC0, 0xE0, 0xF0};
    out += static_cast<char>(kLead[more] | code >> (6 * more));
    for (int i = more - 1; i >= 0; --i) out += static_cast<char>(0x80 | (code >> (6 * i) & 0x3F));
  }

  std::string_view text_;
  size_t at_ = 0, values_ = 0;
};

Json Json::parse(std::string_view text) { return JsonParser(text).document(); }

void Json::require(bool condition, const char* what) const {
  if (!condition) throw std::invalid_argument(std::string("a value is not ") + what);
}

bool Json::boolean() const {
  require(kind_ == Kind::kBoolean, "true or false");
  return integer_ != 0;
}

int64_t Json::integer() const {
  require(kind_ == Kind::kInteger, "a whole number");
  return integer_;
}

double Json::number() const {
  require(kind_ == Kind::kInteger || kind_ == Kind::kReal, "a number");
  return real_;
}

const std::string& Json::string() const {
  require(kind_ == Kind::kString, "a string");
  return string_;
}

const std::vector<Json>& Json::array() const {
  require(kind_ == Kind::kArray, "an array");
  return array_;
}

const std::vector<std::pair<std::string, Json>>& Json::object() const {
  require(kind_ == Kind::kObject, "an object");
  return object_;
}

const Json& Json::operator[](std::string_view name) const {
  const auto& members = object();
  const auto found =
      std::lower_bound(members.begin(), members.end(), name,
                       [](const auto& member, std::string_view n) { return member.first < n; });
  if (found == members.end() || found->first != name)
    throw std::invalid_argument("there is no '" + std::string(name) + "'");
  return found->second;
}

}  // namespace xnornet
