#include "cli/json.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cctype>
#include <cmath>
#include <utility>

#include "common/net.h"

namespace weir::cli {
namespace {

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

std::string UpperSnake(const std::string& camel) {
  std::string result;
  for (const char c : camel) {
    if (!result.empty() && std::isupper(static_cast<unsigned char>(c)) != 0) result += '_';
    result += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return result;
}

/// ROLE_STABLE -> "stable", PROTOCOL_TCP -> "TCP" (an acronym), ..._UNSPECIFIED -> "".
std::string EnumWord(const EnumValueDescriptor& value) {
  if (value.number() == 0) return "";
  const std::string prefix = UpperSnake(value.type()->name()) + "_";
  std::string word = value.name();
  if (word.starts_with(prefix)) word.erase(0, prefix.size());
  if (prefix != "PROTOCOL_") {
    std::transform(word.begin(), word.end(), word.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  }
  return word;
}

boost::json::value AddressText(const std::string& bytes) {
  const auto address = IpAddress::FromBytes(bytes);
  return boost::json::string(address ? address->ToString() : "");
}

/// Element `index` of a repeated field, or the field itself where index is -1.
boost::json::value FieldValue(const Message& message, const FieldDescriptor& field, int index) {
  const auto& reflection = *message.GetReflection();
  const auto get = [&](auto single, auto repeated) {
    return index < 0 ? (reflection.*single)(message, &field) : (reflection.*repeated)(message, &field, index);
  };
  using R = google::protobuf::Reflection;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return get(&R::GetInt32, &R::GetRepeatedInt32);
    case FieldDescriptor::CPPTYPE_INT64:
      return get(&R::GetInt64, &R::GetRepeatedInt64);
    case FieldDescriptor::CPPTYPE_UINT32:
      return get(&R::GetUInt32, &R::GetRepeatedUInt32);
    case FieldDescriptor::CPPTYPE_UINT64:
      return get(&R::GetUInt64, &R::GetRepeatedUInt64);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return get(&R::GetDouble, &R::GetRepeatedDouble);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return get(&R::GetFloat, &R::GetRepeatedFloat);
    case FieldDescriptor::CPPTYPE_BOOL:
      return get(&R::GetBool, &R::GetRepeatedBool);
    case FieldDescriptor::CPPTYPE_ENUM:
      return boost::json::string(EnumWord(*get(&R::GetEnum, &R::GetRepeatedEnum)));
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string text = get(&R::GetString, &R::GetRepeatedString);
      if (field.type() == FieldDescriptor::TYPE_BYTES) return AddressText(text);
      return boost::json::string(text);
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(index < 0 ? reflection.GetMessage(message, &field)
                              : reflection.GetRepeatedMessage(message, &field, index));
  }
  return nullptr;
}

/// A value without members. Fractions as people write them: 0.25, not 2.5E-1.
std::string Scalar(const boost::json::value& value) {
  if (const auto* number = value.if_double(); number != nullptr && std::isfinite(*number)) {
    return fmt::format("{}", *number);
  }
  return boost::json::serialize(value);
}

void PrintLine(const boost::json::value& value, std::string& out) {
  std::string_view separator;
  if (const auto* object = value.if_object()) {
    out += '{';
    for (const auto& [key, member] : *object) {
      out.append(std::exchange(separator, ",")).append(boost::json::serialize(boost::json::string(key))) +=
          ':';
      PrintLine(member, out);
    }
    out += '}';
  } else if (const auto* array = value.if_array()) {
    out += '[';
    for (const auto& element : *array) {
      out.append(std::exchange(separator, ","));
      PrintLine(element, out);
    }
    out += ']';
  } else {
    out += Scalar(value);
  }
}

void PrintPretty(const boost::json::value& value, const std::string& indent, std::string& out) {
  const std::string inner = indent + "  ";
  if (const auto* object = value.if_object(); object != nullptr && !object->empty()) {
    std::string_view separator = "{\n";
    for (const auto& [key, member] : *object) {
      out.append(separator)
          .append(inner)
          .append(boost::json::serialize(boost::json::string(key)))
          .append(": ");
      PrintPretty(member, inner, out);
      separator = ",\n";
    }
    out.append("\n").append(indent).append("}");
  } else if (const auto* array = value.if_array(); array != nullptr && !array->empty()) {
    std::string_view separator = "[\n";
    for (const auto& element : *array) {
      out.append(separator).append(inner);
      PrintPretty(element, inner, out);
      separator = ",\n";
    }
    out.append("\n").append(indent).append("]");
  } else {
    out += Scalar(value);
  }
}

/// True where YAML reads the bare text as this very string: a word of letters, digits and "-_./" that starts
/// with a letter and is no boolean or null.
bool IsPlainYaml(std::string_view text) {
  if (text.empty() || std::isalpha(static_cast<unsigned char>(text[0])) == 0) return false;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 &&
        std::string_view("-_./").find(c) == std::string_view::npos) {
      return false;
    }
  }
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const std::string_view word : {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}) {
    if (lower == word) return false;
  }
  return true;
}

std::string YamlScalar(const boost::json::value& value) {
  // A JSON string is a YAML double-quoted one.
  if (const auto* text = value.if_string(); text != nullptr && IsPlainYaml({text->data(), text->size()})) {
    return {text->data(), text->size()};
  }
  return Scalar(value);
}

bool IsYamlBlock(const boost::json::value& value) {
  return (value.is_object() && !value.get_object().empty()) ||
         (value.is_array() && !value.get_array().empty());
}

/// `first_indent` stands before the first line, which may follow a "- " already written.
void PrintYaml(const boost::json::value& value, const std::string& indent, std::string first_indent,
               std::string& out) {
  if (const auto* object = value.if_object(); object != nullptr && !object->empty()) {
    for (const auto& [key, member] : *object) {
      out.append(std::exchange(first_indent, indent)).append(key.data(), key.size()).append(":");
      if (IsYamlBlock(member)) {
        out += '\n';
        const std::string inner = member.is_array() ? indent : indent + "  ";
        PrintYaml(member, inner, inner, out);
      } else {
        out.append(" ").append(YamlScalar(member)).append("\n");
      }
    }
  } else if (const auto* array = value.if_array(); array != nullptr && !array->empty()) {
    for (const auto& element : *array) {
      out.append(std::exchange(first_indent, indent)).append("- ");
      PrintYaml(element, indent + "  ", "", out);
    }
  } else {
    out.append(first_indent).append(YamlScalar(value)).append("\n");
  }
}

}  // namespace

boost::json::value ToJson(const Message& message) {
  boost::json::object object;
  const auto& descriptor = *message.GetDescriptor();
  const auto& reflection = *message.GetReflection();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor& field = *descriptor.field(i);
    if (field.is_repeated()) {
      boost::json::array array;
      for (int j = 0; j < reflection.FieldSize(message, &field); ++j)
        array.push_back(FieldValue(message, field, j));
      object[field.json_name()] = std::move(array);
    } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
               !reflection.HasField(message, &field)) {
      object[field.json_name()] = nullptr;
    } else {
      object[field.json_name()] = FieldValue(message, field, -1);
    }
  }
  return object;
}

std::string ToPrettyJson(const boost::json::value& value) {
  std::string out;
  PrintPretty(value, "", out);
  return out + "\n";
}

std::string ToJsonLine(const boost::json::value& value) {
  std::string out;
  PrintLine(value, out);
  return out;
}

std::string ToYaml(const boost::json::value& value) {
  std::string out;
  PrintYaml(value, "", "", out);
  return out;
}

}  // namespace weir::cli
