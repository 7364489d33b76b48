#include "controller/model/yaml_tree.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <istream>
#include <map>
#include <set>
#include <streambuf>
#include <unordered_set>

namespace weir::model {
namespace {

/// Ends the reading from within a handler: yaml-cpp knows no other way.
struct Limit : YAML::ParserException {
  using ParserException::ParserException;
};

/// Reads a string_view in place.
class ViewBuffer : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());  // the get area is never written to
    setg(begin, begin, begin + text.size());
  }
};

/// Events to a tree.
class TreeBuilder : public YAML::EventHandler {
 public:
  bool finished() const { return finished_; }
  YamlDocument& document() { return document_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    // yaml-cpp does not get past a token that can begin nothing, such as a comma: it would give empty
    // documents for ever.
    if (mark.pos <= last_start_) {
      throw Limit(mark,
                  fmt::format("found malformed YAML at column {} (nothing can begin here), expected a YAML "
                              "document; correct the syntax here or in the line before",
                              mark.column + 1));
    }
    last_start_ = mark.pos;
    document_ = YamlDocument{.line = mark.line + 1, .root = nullptr, .errors = {}};
    frames_.clear();
    anchors_.clear();
    nodes_ = bytes_ = 0;
    finished_ = false;
  }
  void OnDocumentEnd() override { finished_ = true; }

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Add(mark, Make(mark, YamlNode::Kind::kNull), anchor, {1, 0});
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    CheckTag(mark, tag);
    auto node = Make(mark, YamlNode::Kind::kScalar);
    node->plain = tag == "?";
    node->text = value;
    Add(mark, std::move(node), anchor, {1, value.size()});
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto known = anchors_.find(anchor);
    if (known == anchors_.end()) {
      throw Limit(mark, "found an alias inside what it stands for, expected an alias of something before it");
    }
    Add(mark, known->second.node, YAML::NullAnchor, known->second.size);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, YamlNode::Kind::kSequence);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, YamlNode::Kind::kMap);
  }
  void OnMapEnd() override { Close(); }

 private:
  struct Size {
    size_t nodes = 0, bytes = 0;
  };
  struct Frame {
    std::shared_ptr<YamlNode> node;
    YAML::anchor_t anchor = YAML::NullAnchor;
    Size before;                           // of the document when the frame was opened
    YAML::Mark mark;                       // where it begins
    std::string key;                       // of a map: the key whose value comes next
    int key_line = 0;                      //
    bool has_key = false;                  // the next node is a value
    bool drop = false;                     // ... that belongs to a key which is refused
    std::unordered_set<std::string> seen;  // keys
  };
  struct Anchored {
    YamlPtr node;
    Size size;
  };

  static std::shared_ptr<YamlNode> Make(const YAML::Mark& mark, YamlNode::Kind kind) {
    auto node = std::make_shared<YamlNode>();
    node->kind = kind;
    node->line = mark.line + 1;
    return node;
  }

  void Open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YamlNode::Kind kind) {
    CheckTag(mark, tag);
    if (frames_.size() >= kMaxYamlDepth) {
      throw Limit(mark,
                  fmt::format("found more than {0} levels of nesting, expected at most {0}", kMaxYamlDepth));
    }
    Frame frame;
    frame.node = Make(mark, kind);
    frame.anchor = anchor;
    frame.before = {nodes_, bytes_};
    frame.mark = mark;
    frames_.push_back(std::move(frame));
  }

  void Close() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    const Size inside{nodes_ - frame.before.nodes + 1, bytes_ - frame.before.bytes};
    Attach(frame.mark, std::move(frame.node), frame.anchor, {1, 0}, inside);
  }

  void Add(const YAML::Mark& mark, YamlPtr node, YAML::anchor_t anchor, Size size) {
    Attach(mark, std::move(node), anchor, size, size);
  }

  /// Puts a whole node where it belongs. `grows` is what the document's size has not been told of yet.
  void Attach(const YAML::Mark& mark, YamlPtr node, YAML::anchor_t anchor, Size grows, Size size) {
    nodes_ += grows.nodes;
    bytes_ += grows.bytes;
    if (nodes_ > kMaxYamlNodes || bytes_ > kMaxYamlBytes) {
      throw Limit(mark,
                  fmt::format("found a document that comes to more than {} values or {} MiB with its aliases "
                              "written out, expected less; split it",
                              kMaxYamlNodes, kMaxYamlBytes >> 20));
    }
    if (anchor != YAML::NullAnchor) anchors_[anchor] = {node, size};
    if (frames_.empty()) {
      document_.line = node->line;
      document_.root = std::move(node);
      return;
    }
    Frame& parent = frames_.back();
    if (parent.node->kind == YamlNode::Kind::kSequence) {
      parent.node->items.push_back(std::move(node));
    } else if (!parent.has_key) {
      TakeKey(parent, mark.line + 1, *node);
    } else {
      if (!parent.drop)
        parent.node->entries.push_back({std::move(parent.key), parent.key_line, std::move(node)});
      parent.has_key = false;
    }
  }

  void TakeKey(Frame& map, int line, const YamlNode& key) {
    map.has_key = true;
    map.drop = true;
    map.key = key.text;
    map.key_line = line;
    const auto refuse = [&](std::string text) {
      if (document_.errors.size() < kMaxErrors) document_.errors.push_back({line, Path(), std::move(text)});
    };
    if (key.kind != YamlNode::Kind::kScalar) {
      map.key = "?";
      return refuse("found a key that is a map, a list or null, expected a name; write the name of a field");
    }
    const bool unprintable = std::ranges::any_of(
        key.text, [](char byte) { return static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f; });
    if (key.text.size() > kMaxYamlKey || unprintable) {
      map.key = "?";
      return refuse(
          fmt::format("found a key of {} bytes{}, expected printable characters, {} at most; shorten it",
                      key.text.size(), unprintable ? " with control characters" : "", kMaxYamlKey));
    }
    if (key.plain && key.text == "<<") {
      return refuse("found the merge key <<, expected named fields only; write the merged fields out");
    }
    if (!map.seen.insert(key.text).second) {
      return refuse("found the field twice in one map, expected it once; remove one of them");
    }
    map.drop = false;
  }

  void CheckTag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!" || document_.errors.size() >= kMaxErrors) return;
    document_.errors.push_back(
        {mark.line + 1, Path(),
         fmt::format("found the tag {}, expected a value without one; remove the tag", tag)});
  }

  /// Of what is being read.
  std::string Path() const {
    std::string path;
    for (const Frame& frame : frames_) {
      if (frame.node->kind == YamlNode::Kind::kSequence) {
        path += fmt::format("[{}]", frame.node->items.size());
      } else if (frame.has_key) {
        path += (path.empty() ? "" : ".") + frame.key;
      }
    }
    return path;
  }

  static constexpr size_t kMaxErrors = 1000;

  YamlDocument document_;
  std::vector<Frame> frames_;
  std::map<YAML::anchor_t, Anchored> anchors_;
  size_t nodes_ = 0, bytes_ = 0;
  int last_start_ = -1;  // position of the last document
  bool finished_ = false;
};

/// Length of the UTF-8 sequence at the start of `text`, 0 if there is none (RFC 3629: no surrogates, no
/// overlong forms).
size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U; };
  const auto follows = [&](size_t at) { return (byte(at) & 0xC0U) == 0x80; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;
    return follows(1) && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return follows(1) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

/// yaml-cpp takes 0x04 for the end of the file and guesses at UTF-16: only printable UTF-8 goes in.
std::vector<YamlError> CheckText(std::string_view yaml) {
  if (yaml.size() > kMaxYamlBytes) {
    return {{1, "",
             fmt::format("found {} bytes, expected at most {} MiB; split the file", yaml.size(),
                         kMaxYamlBytes >> 20)}};
  }
  int line = 1;
  for (size_t at = 0; at < yaml.size();) {
    const auto byte = static_cast<unsigned char>(yaml[at]);
    const size_t length = Utf8Length(yaml.substr(at));
    if (length == 0 || (byte < 0x20 && byte != '\n' && byte != '\r' && byte != '\t') || byte == 0x7f) {
      return {{line, "",
               fmt::format("found the byte 0x{:02x}, expected printable UTF-8 text; save the file as UTF-8",
                           byte)}};
    }
    if (byte == '\n') ++line;
    at += length;
  }
  return {};
}

}  // namespace

std::vector<YamlError> ReadYaml(std::string_view yaml, const std::function<void(const YamlDocument&)>& take) {
  if (std::vector<YamlError> errors = CheckText(yaml); !errors.empty()) return errors;
  ViewBuffer buffer(yaml);
  std::istream stream(&buffer);
  try {
    YAML::Parser parser(stream);
    TreeBuilder builder;
    while (parser.HandleNextDocument(builder)) {
      const YamlDocument& document = builder.document();
      if (document.root && (document.root->kind != YamlNode::Kind::kNull || !document.errors.empty()))
        take(document);
    }
  } catch (const Limit& limit) {
    return {{limit.mark.line + 1, "", limit.msg}};
  } catch (const YAML::Exception& error) {
    const int line = error.mark.is_null() ? 1 : error.mark.line + 1;
    return {
        {line, "",
         fmt::format(
             "found malformed YAML at column {} ({}), expected a YAML document; correct the syntax here or "
             "in the line before",
             error.mark.column + 1, error.msg)}};
  }
  return {};
}

PlainType TypeOfPlain(std::string_view text) {
  static const std::set<std::string_view> booleans = {
      "y", "Y", "yes", "Yes", "YES", "on",  "On",  "ON",  "true",  "True",  "TRUE",
      "n", "N", "no",  "No",  "NO",  "off", "Off", "OFF", "false", "False", "FALSE"};
  if (booleans.contains(text)) return PlainType::kBoolean;
  std::string_view rest = text;
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest == ".inf" || rest == ".Inf" || rest == ".INF") return PlainType::kNumber;
  if (text == ".nan" || text == ".NaN" || text == ".NAN") return PlainType::kNumber;
  const auto digits = [](std::string_view part, std::string_view allowed) {
    return !part.empty() && part.find_first_not_of(allowed) == std::string_view::npos;
  };
  constexpr std::string_view kDecimal = "0123456789";
  if (digits(rest, kDecimal)) {
    const bool canonical = (rest == "0" && !negative) || !rest.starts_with('0');
    return canonical && !text.starts_with('+') ? PlainType::kInteger : PlainType::kNumber;
  }
  if (rest.starts_with("0x"))
    return digits(rest.substr(2), "0123456789abcdefABCDEF_") ? PlainType::kNumber : PlainType::kString;
  if (rest.starts_with("0o"))
    return digits(rest.substr(2), "01234567_") ? PlainType::kNumber : PlainType::kString;
  if (rest.starts_with("0b")) return digits(rest.substr(2), "01_") ? PlainType::kNumber : PlainType::kString;
  if (rest.empty() || (kDecimal.find(rest.front()) == std::string_view::npos && rest.front() != '.')) {
    return PlainType::kString;
  }
  if (digits(rest, "0123456789_")) return PlainType::kNumber;
  // digits [. digits] [e [sign] digits]
  const auto skip_digits = [&] {
    const size_t end = std::min(rest.find_first_not_of("0123456789_"), rest.size());
    rest.remove_prefix(end);
    return end > 0;
  };
  bool any = skip_digits();
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    any = skip_digits() || any;
  }
  if (any && (rest.starts_with('e') || rest.starts_with('E'))) {
    rest.remove_prefix(1);
    if (rest.starts_with('-') || rest.starts_with('+')) rest.remove_prefix(1);
    return digits(rest, kDecimal) ? PlainType::kNumber : PlainType::kString;
  }
  return any && rest.empty() ? PlainType::kNumber : PlainType::kString;
}

}  // namespace weir::model
