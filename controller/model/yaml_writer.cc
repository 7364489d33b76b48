// Trees back to text.
#include <fmt/format.h>

#include "controller/model/yaml_tree.h"

namespace weir::model {
namespace {

bool IsNullText(std::string_view text) {
  return text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL";
}

/// Characters that mean nothing to YAML wherever they stand.
bool IsHarmless(std::string_view text) {
  return text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-+") ==
             std::string_view::npos &&
         !text.starts_with('-') && !text.starts_with('.');
}

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char byte : text) {
    if (byte == '"' || byte == '\\') {
      quoted += '\\';
      quoted += byte;
    } else if (byte == '\n') {
      quoted += "\\n";
    } else if (static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f) {
      quoted += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    } else {
      quoted += byte;
    }
  }
  return quoted + '"';
}

std::string ScalarText(std::string_view text, bool plain) {
  const bool typed = TypeOfPlain(text) != PlainType::kString;
  if (plain && typed) return std::string(text);
  return !typed && !IsNullText(text) && IsHarmless(text) ? std::string(text) : Quoted(text);
}

void Write(const YamlNode& node, size_t indent, bool after_dash, std::string& out) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      out += "null\n";
      return;
    case YamlNode::Kind::kScalar:
      out += ScalarText(node.text, node.plain) + '\n';
      return;
    case YamlNode::Kind::kSequence:
      if (node.items.empty()) {
        out += "[]\n";
        return;
      }
      if (!after_dash && !out.empty()) out += '\n';
      for (const YamlPtr& item : node.items) {
        if (!after_dash) out.append(indent, ' ');
        after_dash = false;
        out += "- ";
        Write(*item, indent + 2, true, out);
      }
      return;
    case YamlNode::Kind::kMap:
      if (node.entries.empty()) {
        out += "{}\n";
        return;
      }
      if (!after_dash && !out.empty()) out += '\n';
      for (const YamlEntry& entry : node.entries) {
        if (!after_dash) out.append(indent, ' ');
        after_dash = false;
        out += ScalarText(entry.key, false) + ':';
        const bool nested = !entry.value->items.empty() || !entry.value->entries.empty();
        if (!nested) out += ' ';
        // A list stands no deeper than its key, as kubectl writes it.
        const size_t deeper = entry.value->kind == YamlNode::Kind::kSequence ? indent : indent + 2;
        Write(*entry.value, deeper, false, out);
      }
      return;
  }
}

}  // namespace

std::string WriteYaml(const YamlNode& node) {
  std::string out;
  Write(node, 0, false, out);
  return out;
}

}  // namespace weir::model
