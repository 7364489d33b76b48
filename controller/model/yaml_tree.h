// YAML text to plain trees: every yaml-cpp exception and every trick of YAML (bombs, merge keys, tags,
// duplicates) stops here.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weir::model {

struct YamlNode;
/// Shared by what an alias repeats.
using YamlPtr = std::shared_ptr<const YamlNode>;

struct YamlEntry {
  std::string key;
  int line = 0;
  YamlPtr value;
};

struct YamlNode {
  enum class Kind : uint8_t { kNull, kScalar, kSequence, kMap };
  Kind kind = Kind::kNull;
  bool plain = false;  // a scalar without quotes: may be a number or a boolean
  int line = 0;        // from 1
  std::string text;    // of a scalar
  std::vector<YamlPtr> items;
  std::vector<YamlEntry> entries;  // in the file's order; keys are unique
};

/// One thing that is wrong. `path` is empty when it concerns no field.
struct YamlError {
  int line = 0;
  std::string path;
  std::string text;
  bool of_people = false;  // a slip where people write; an API server may mean it
};

struct YamlDocument {
  int line = 0;  // of its first node
  YamlPtr root;
  std::vector<YamlError> errors;  // duplicate keys, merge keys, tags, keys that are no strings
};

inline constexpr size_t kMaxYamlBytes = size_t{16} << 20;
inline constexpr size_t kMaxYamlNodes = 2'000'000;  // of a document, aliases written out
inline constexpr size_t kMaxYamlDepth = 64;
inline constexpr size_t kMaxYamlKey = 320;  // Kubernetes' longest label key has 317 bytes

/// Calls `take` with each document that is not empty, in order. What cannot be read as YAML, or is over a
/// limit, ends the file: it is returned, and what came before has been taken.
std::vector<YamlError> ReadYaml(std::string_view yaml, const std::function<void(const YamlDocument&)>& take);

/// The node as block-style YAML that reads back as the same tree, aliases written out and comments gone.
std::string WriteYaml(const YamlNode& node);

/// What a plain scalar is for Kubernetes' YAML reader (YAML 1.1).
enum class PlainType : uint8_t { kString, kInteger, kNumber, kBoolean };
PlainType TypeOfPlain(std::string_view text);

}  // namespace weir::model
