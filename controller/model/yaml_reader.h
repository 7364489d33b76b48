// A place in a YAML tree that knows its path and line, and collects what is wrong there.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/net.h"
#include "controller/model/yaml_tree.h"

namespace weir::model {

/// A field that others know and Weir refuses: "found NAME, expected it left out: WHY; REMEDY".
struct Refusal {
  std::string_view field, why, remedy;
};

/// "found X, expected Y; remedy" for the value at hand; `remedy` may be empty.
std::string Complaint(std::string_view found, std::string_view expected, std::string_view remedy = {});

/// The text in double quotes, shortened to what fits a line.
std::string Quote(std::string_view text);

/// The candidate that `text` is most likely a slip of; nullopt if none is near.
std::optional<std::string_view> Nearest(std::string_view text, std::span<const std::string_view> candidates);

/// Cheap: a path is put together only for an error. A cursor points to the one it was taken from, which must
/// outlive it. A null value counts as absent, as in Kubernetes.
class Cursor {
 public:
  Cursor(const YamlNode& root, std::vector<YamlError>& errors)
      : node_(&root), line_(root.line), errors_(&errors) {}

  /// The value of a field; nullopt if it is absent or this is no map.
  std::optional<Cursor> Find(std::string_view key) const&;
  std::optional<Cursor> Find(std::string_view key) && = delete;

  /// The values of a list; an error and none if it is something else.
  std::vector<Cursor> Items() const&;
  std::vector<Cursor> Items() && = delete;

  /// The fields of a map that are not null; an error and none if it is something else.
  std::vector<std::pair<std::string_view, Cursor>> Entries() const&;
  std::vector<std::pair<std::string_view, Cursor>> Entries() && = delete;

  /// An error and false unless this is a map. Fields that are neither `known` nor refused are errors of
  /// people, with a suggestion.
  bool ExpectMap(std::initializer_list<std::string_view> known, std::span<const Refusal> refused = {}) const;

  // Typed values: an error and nullopt for everything else.
  std::optional<std::string> String() const;
  std::optional<int64_t> Integer(int64_t min, int64_t max) const;
  std::optional<bool> Boolean() const;
  std::optional<std::string> OneOf(std::initializer_list<std::string_view> values,
                                   std::string_view remedy = {}) const;
  /// An address that can be dialled: neither unspecified nor multicast.
  std::optional<IpAddress> Address() const;
  std::optional<uint16_t> Port() const;
  /// "TCP" or "UDP".
  std::optional<Protocol> TransportProtocol() const;

  // The same of a field; nullopt without an error if it is absent.
  std::optional<std::string> StringAt(std::string_view key) const;
  std::optional<bool> BooleanAt(std::string_view key) const;

  /// The value of a field that must be there.
  std::optional<Cursor> Require(std::string_view key, std::string_view expected,
                                std::string_view remedy = {}) const&;
  std::optional<Cursor> Require(std::string_view, std::string_view, std::string_view = {}) && = delete;
  /// A string that must be there and not be empty.
  std::optional<std::string> RequireString(std::string_view key, std::string_view expected,
                                           std::string_view remedy = {}) const;

  /// What is there, in words: the integer 80, the string "80", a list.
  std::string Found() const;
  /// "PATH: found what is there, expected Y; remedy".
  void Fail(std::string_view expected, std::string_view remedy = {}) const;
  /// "PATH: text"; `of_people` as in YamlError.
  void FailText(std::string text, bool of_people = false) const;

  std::string Path() const;
  int line() const { return line_; }
  const YamlNode& node() const { return *node_; }

 private:
  Cursor(const YamlNode& node, int line, const Cursor& parent, std::string_view key, size_t index)
      : node_(&node), line_(line), parent_(&parent), key_(key), index_(index), errors_(parent.errors_) {}

  const YamlNode* node_;
  int line_;
  const Cursor* parent_ = nullptr;
  std::string_view key_;  // in the parent map, or
  size_t index_ = 0;      // in the parent list
  std::vector<YamlError>* errors_;
};

}  // namespace weir::model
