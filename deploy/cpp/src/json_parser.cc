// The strict JSON reader (RFC 8259), by recursive descent with a limit on depth.
#include <cctype>

#include "failure.h"
#include "json.h"
#include "utf8.h"

namespace glorext {
namespace {

constexpr int kMaxDepth = 64;

class Parser {
 public:
  Parser(const std::string& text, const std::string& where) : text_(text), where_(where) {}

  Json document() {
    Json value = element(0);
    skip_space();
    if (at_ != text_.size()) fail("text after the value");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Failure(where_ + ": not valid JSON at byte " + std::to_string(at_) + ": " + what);
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_space() {
    while (at_ < text_.size() && (peek() == ' ' || peek() == '\n' || peek() == '\r' || peek() == '\t')) ++at_;
  }

  void expect(char wanted) {
    if (at_ >= text_.size()) fail("the text ends early");
    if (text_[at_] != wanted) fail(std::string("expected '") + wanted + "'");
    ++at_;
  }

  bool take(char wanted) {
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  Json word(const std::string& spelling, Json value) {
    if (text_.compare(at_, spelling.size(), spelling) != 0) fail("expected a value");
    at_ += spelling.size();
    return value;
  }

  Json element(int depth) {
    if (depth > kMaxDepth) fail("more than " + std::to_string(kMaxDepth) + " levels");
    skip_space();
    if (at_ >= text_.size()) fail("the text ends early");
    switch (peek()) {
      case '{': return object(depth);
      case '[': return array(depth);
      case '"': return Json(string());
      case 't': return word("true", Json(true));
      case 'f': return word("false", Json(false));
      case 'n': return word("null", Json());
      default: return number();
    }
  }

  Json object(int depth) {
    Json::Object members;
    expect('{');
    skip_space();
    if (take('}')) return members;
    do {
      skip_space();
      const size_t begin = at_;
      std::string key = string();
      skip_space();
      expect(':');
      Json value = element(depth + 1);
      if (!members.emplace(key, std::move(value)).second) {
        at_ = begin;
        fail("the key " + in_quotes(key) + " a second time");
      }
      skip_space();
    } while (take(','));
    expect('}');
    return members;
  }

  Json array(int depth) {
    Json::Array items;
    expect('[');
    skip_space();
    if (take(']')) return items;
    do {
      items.push_back(element(depth + 1));
      skip_space();
    } while (take(','));
    expect(']');
    return items;
  }

  uint32_t hex4() {
    uint32_t code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const auto c = static_cast<unsigned char>(peek());
      if (!std::isxdigit(c)) fail("expected four hex digits after \\u");
      code = code * 16 + static_cast<uint32_t>(std::isdigit(c) ? c - '0' : std::tolower(c) - 'a' + 10);
    }
    return code;
  }

  // Half of a surrogate pair stays what it is: the text is not UTF-8 then, and its reader names the key.
  uint32_t escaped_character() {
    const uint32_t high = hex4();
    if (high < 0xD800 || high > 0xDBFF || text_.compare(at_, 2, "\\u") != 0) return high;
    const size_t second = at_;
    at_ += 2;
    const uint32_t low = hex4();
    if (low >= 0xDC00 && low <= 0xDFFF) return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    at_ = second;
    return high;
  }

  std::string string() {
    std::string out;
    expect('"');
    while (!take('"')) {
      if (at_ >= text_.size()) fail("the text ends inside a string");
      const size_t length = utf8_length(text_, at_);
      if (length == 0) fail("not UTF-8");
      if (static_cast<unsigned char>(peek()) < 0x20) fail("a control character inside a string");
      if (take('\\')) {
        escape(out);
      } else {
        out.append(text_, at_, length);
        at_ += length;
      }
    }
    return out;
  }

  void escape(std::string& out) {
    const char kind = peek();
    ++at_;
    switch (kind) {
      case '"':
      case '\\':
      case '/': out += kind; return;
      case 'b': out += '\b'; return;
      case 'f': out += '\f'; return;
      case 'n': out += '\n'; return;
      case 'r': out += '\r'; return;
      case 't': out += '\t'; return;
      case 'u': append_utf8(out, escaped_character()); return;
      default: --at_; fail("unknown escape");
    }
  }

  size_t digits() {
    const size_t begin = at_;
    while (std::isdigit(static_cast<unsigned char>(peek()))) ++at_;
    return at_ - begin;
  }

  Json number() {
    const size_t begin = at_;
    take('-');
    const bool leading_zero = peek() == '0';
    const size_t whole = digits();
    if (whole == 0 || (leading_zero && whole > 1)) fail("expected a value");
    if (take('.') && digits() == 0) fail("expected digits after the point");
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      if (digits() == 0) fail("expected digits in the exponent");
    }
    return Json::spelled(text_.substr(begin, at_ - begin));
  }

  const std::string& text_;
  const std::string& where_;
  size_t at_ = 0;
};

}  // namespace

Json parse_json(const std::string& text, const std::string& where) { return Parser(text, where).document(); }

}  // namespace glorext
